"""The admin in a real browser: a person toggles, forces and swaps, and the pipeline follows at its next cycle."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.support.harness import Stack

ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
LAST_CYCLE = "SELECT {} FROM pipeline_cycles ORDER BY id DESC LIMIT 1"


def act(page: Page, address: str, row: str, action: str) -> str:
    """Choose one row of a list, run an action on it, and return what the page says then."""
    page.goto(address)
    page.get_by_role("row", name=re.compile(rf"\b{row}\b")).get_by_role("checkbox").first.check()
    page.locator("select[name=action]").first.select_option(action)
    with page.expect_navigation(timeout=120_000):
        page.locator("button[name=index]").first.click()
    return page.locator("main, #content, body").first.inner_text()


def one_cycle(desk: Stack) -> dict[str, object]:
    """Let one bar go through the workers; its switches, pins and fallbacks."""
    desk.manage("replay", "--bars", "1", "--timeout", "540")
    switches, modules, cycle = (desk.value(LAST_CYCLE.format(column)) for column in ("switches", "modules", "id"))
    fallbacks = desk.query("SELECT stage, fallback FROM pipeline_stage_runs WHERE cycle_id = %s", [cycle])
    return {"switches": switches, "modules": modules, "fallbacks": dict(fallbacks)}


@pytest.mark.stack
def test_what_a_person_does_in_the_admin_is_what_the_next_cycle_does(
    site: tuple[Stack, str, dict[str, str]], chromium: str
) -> None:
    desk, address, login = site
    before = one_cycle(desk)
    assert before["switches"]["llm_strategic_analysis"] is True
    assert before["fallbacks"]["predict"] == ""
    desk.manage("modules", "register", "predict", "examples.modules.predict_tempered")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{address}/admin/")
        page.fill("input[name=username]", login["username"])
        page.fill("input[name=password]", login["password"])
        page.locator("button[type=submit]").first.click()
        page.wait_for_url(re.compile(r"/admin/$"))

        flags = f"{address}/admin/flags/featureflag/"
        said = act(page, flags, "llm_strategic_analysis", "disable_selected")
        assert "llm_strategic_analysis" in said
        assert "off for everybody" in said

        said = act(page, f"{address}/admin/modules/module/", "predict", "swap_selected")
        assert re.search(r"1\.1\.0\+[0-9a-f]{8}: Swap is queued", said)
        ended = "SELECT count(*) FROM module_jobs WHERE state = 'SUCCEEDED'"
        desk.wait_for(lambda: desk.value(ended) == 1, timeout_s=180, what="the swap that the page asked for")

        followed = one_cycle(desk)
        assert followed["switches"]["llm_strategic_analysis"] is False
        assert str(followed["modules"]["predict"]).startswith("1.1.0+")
        assert followed["fallbacks"]["predict"] == ""

        act(page, f"{address}/admin/breakers/circuitbreaker/", "neural_network", "open_selected")
        assert one_cycle(desk)["fallbacks"]["predict"] == "neutral_forecast"
        act(page, f"{address}/admin/breakers/circuitbreaker/", "neural_network", "close_selected")

        act(page, f"{address}/admin/modules/module/", "predict", "roll_back_selected")
        act(page, flags, "llm_strategic_analysis", "enable_selected")
        browser.close()

    assert one_cycle(desk) == before
    assert complaints == []

"""The pictures of a backtest as plotly figures: one function a picture, no file and no network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from tiers.backtest.engine import Result, monthly_returns
from tiers.backtest.metrics import drawdowns
from tiers.contracts import FloatArray
from trading.market.asset_class import DOLLAR
from trading.market.days import day_of

INK, GRID = "#0f172a", "#e2e8f0"
STRATEGY, UNSEEN, BASELINE, LOSS = "#0e7490", "#7c3aed", "#94a3b8", "#dc2626"
PALETTE = (
    "#0e7490",
    "#f59e0b",
    "#6366f1",
    "#10b981",
    "#ef4444",
    "#a855f7",
    "#84cc16",
    "#ec4899",
    "#3b82f6",
    "#f97316",
    "#14b8a6",
)
MAX_POINTS = 4_000  # a line; more cannot be told apart on a screen
MAX_AREAS = 1_000
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
FEW_YEARS = 3
WHOLE = 1_000  # cash of which parts of one are not told apart in a picture

Rows = npt.NDArray[np.intp]


def thinned(values: FloatArray, limit: int = MAX_POINTS) -> Rows:
    """Rows of (n,) values that keep the shape of a line: first, last, lowest and highest of every stretch."""
    n = len(values)
    if n <= limit:
        return np.arange(n)
    edges = np.linspace(0, n, limit // 4 + 1).astype(np.intp)
    rows = {0, n - 1}
    for start, stop in pairwise(edges.tolist()):
        part = values[start:stop]
        rows |= {start, start + int(part.argmin()), start + int(part.argmax()), stop - 1}
    return np.array(sorted(rows), dtype=np.intp)


def averaged(values: FloatArray, limit: int = MAX_AREAS) -> tuple[Rows, FloatArray]:
    """Last rows and means of at most `limit` stretches of (n, k) values: areas that swing stay readable."""
    starts = np.unique(np.linspace(0, len(values), min(limit, len(values)), endpoint=False).astype(np.intp))
    counts = np.diff(starts, append=len(values))
    return starts + counts - 1, np.add.reduceat(values, starts, axis=0) / counts[:, None]


def equity(result: Result) -> go.Figure:
    """Account value of the strategy beside buy and hold, and of the account that the figures are of."""
    figure = go.Figure()
    if result.buy_hold is not None:
        _line(
            figure,
            result.buy_hold,
            result.buy_hold.run.equity_curve,
            name="Buy and hold",
            color=BASELINE,
            width=1.4,
        )
    _line(figure, result, result.run.equity_curve, name=result.strategy, color=STRATEGY, width=2.0)
    if result.unseen is not None:
        name = f"{result.strategy}, begun on bars not seen"
        _line(figure, result.unseen, result.unseen.run.equity_curve, name=name, color=UNSEEN, width=2.0)
    _mark_training(figure, result)
    figure.update_yaxes(
        tickprefix="$" if result.currency == DOLLAR else "",
        ticksuffix="" if result.currency == DOLLAR else f" {result.currency}".rstrip(),
        tickformat=",.0f" if result.initial.cash >= WHOLE else ",.5~r",
    )
    buttons = [
        {"label": label, "method": "relayout", "args": [{"yaxis.type": kind}]}
        for label, kind in (("Linear", "linear"), ("Log", "log"))
    ]
    figure.update_layout(
        updatemenus=[
            {
                "type": "buttons",
                "direction": "right",
                "buttons": buttons,
                "x": 1,
                "y": 1.13,
                "xanchor": "right",
                "bgcolor": "#fff",
                "bordercolor": GRID,
                "font": {"size": 11},
            }
        ]
    )
    return _styled(figure, height=400)


def drawdown(result: Result) -> go.Figure:
    """Loss from the highest value so far."""
    figure = go.Figure()
    if result.buy_hold is not None:
        fall = -100.0 * drawdowns(result.buy_hold.run.equity_curve)
        _line(figure, result.buy_hold, fall, name="Buy and hold", color=BASELINE, width=1.2)
    fall = -100.0 * drawdowns(result.run.equity_curve)
    shade = {"fill": "tozeroy", "fillcolor": "rgba(220,38,38,0.12)"}
    _line(figure, result, fall, name=result.strategy, color=LOSS, width=1.4, **shade)
    _mark_training(figure, result, at="bottom")
    figure.update_yaxes(ticksuffix=" %", rangemode="tozero")
    return _styled(figure, height=240)


def weights(result: Result) -> go.Figure:
    """What was held at each close as a share of equity; the least used symbols are put together."""
    held = 100.0 * result.run.held
    order = np.argsort(-np.abs(held).mean(axis=0), kind="stable")
    shown = order if len(order) <= len(PALETTE) else order[: len(PALETTE) - 1]
    rows, means = averaged(held)
    series = [(result.symbols[column], means[:, column]) for column in shown]
    if len(shown) < len(order):
        series.append((f"{len(order) - len(shown)} others", means[:, order[len(shown) :]].sum(axis=1)))
    figure = go.Figure()
    times = [result.run.ts[row] for row in rows]
    for (name, values), color in zip(series, PALETTE, strict=False):
        figure.add_scatter(
            x=times,
            y=np.round(values, 3),
            name=name,
            mode="lines",
            stackgroup="held",
            line={"width": 0},
            fillcolor=color,
            hovertemplate="%{y:.1f} %",
        )
    _mark_training(figure, result)
    figure.update_yaxes(ticksuffix=" %", rangemode="tozero")
    return _styled(figure, height=300)


def monthly(result: Result) -> go.Figure:
    """Return of every month as a heat map, newest year on top, with the year's return beside."""
    returns = monthly_returns(result)
    years = sorted({year for year, _ in returns})
    seen = {(day.year, day.month) for day in map(day_of, result.run.ts[: result.n_seen])}
    grid, italic = np.full((len(years), 13), np.nan), np.zeros((len(years), 13), dtype=bool)
    for (year, month), value in returns.items():
        grid[years.index(year), month - 1] = 100.0 * value
        italic[years.index(year), [month - 1, 12]] |= (year, month) in seen
    grid[:, 12] = 100.0 * (np.nanprod(1.0 + grid[:, :12] / 100.0, axis=1) - 1.0)
    reach = max(1.0, float(np.nanpercentile(np.abs(grid[:, :12]), 95)))
    figure = go.Figure(
        go.Heatmap(
            z=grid,
            x=[*MONTHS, "<b>Year</b>"],
            y=[str(year) for year in years],
            text=[[_cell(*of) for of in zip(*row, strict=True)] for row in zip(grid, italic, strict=True)],
            texttemplate="%{text}",
            textfont={"size": 11},
            hovertemplate="%{x} %{y}: %{text} %<extra></extra>",
            colorscale=[[0, "#dc2626"], [0.5, "#ffffff"], [1, "#059669"]],
            zmin=-reach,
            zmax=reach,
            xgap=3,
            ygap=3,
            showscale=False,
        )
    )
    figure.update_yaxes(type="category", showgrid=False)
    figure.update_xaxes(side="top", showgrid=False, showline=False, ticks="")
    row_height = 46 if len(years) <= FEW_YEARS else 30
    return _styled(figure, height=70 + row_height * len(years), legend=False, hover="closest")


def _cell(value: float, italic: bool) -> str:
    """A return to a tenth of a percent; what rounds to nothing has no sign."""
    text = "" if math.isnan(value) else f"{value:+.1f}" if abs(round(value, 1)) > 0 else "0.0"
    return f"<i>{text}</i>" if italic else text


def _line(
    figure: go.Figure,
    result: Result,
    values: FloatArray,
    *,
    name: str,
    color: str,
    width: float,
    **options: object,
) -> None:
    rows = thinned(values)
    figure.add_scatter(
        x=[result.run.ts[row] for row in rows],
        y=np.round(values[rows], _decimals(values)),
        name=name,
        mode="lines",
        line={"color": color, "width": width},
        **options,
    )


def _decimals(values: FloatArray) -> int:
    """Four, or as many as five digits of the largest value need."""
    most = float(np.abs(values).max(initial=0.0))
    return 4 if most == 0 else max(4, 4 - math.floor(math.log10(most)))


def _mark_training(figure: go.Figure, result: Result, *, at: str = "top") -> None:
    """Shade the part of the time axis that the model has seen in training."""
    if not result.n_seen:
        return
    end = result.run.ts[result.n_seen - 1]
    figure.add_vrect(x0=result.start, x1=end, fillcolor="rgba(245,158,11,0.10)", line_width=0, layer="below")
    figure.add_annotation(
        x=result.start,
        y=float(at == "top"),
        yref="paper",
        text="seen in training",
        showarrow=False,
        xanchor="left",
        yanchor=at,
        font={"size": 11, "color": "#b45309"},
    )
    if end < result.end:
        figure.add_vline(x=end, line={"color": "#b45309", "width": 1, "dash": "dash"})


def _styled(figure: go.Figure, *, height: int, legend: bool = True, hover: str = "x unified") -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 64, "r": 16, "t": 44 if legend else 32, "b": 32},
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12, "color": INK},
        showlegend=legend,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        hovermode=hover,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        colorway=PALETTE,
    )
    figure.update_xaxes(gridcolor=GRID, linecolor=GRID, tickcolor=GRID)
    figure.update_yaxes(gridcolor=GRID, zerolinecolor=GRID)
    return figure


def fragments(figures: Sequence[go.Figure]) -> list[str]:
    """Each figure as an HTML fragment that expects plotly.js on the page."""
    options = {"displayModeBar": False, "responsive": True}  # drag zooms, a double click zooms out
    return [
        figure.to_html(full_html=False, include_plotlyjs=False, config=options, div_id=f"chart-{number}")
        for number, figure in enumerate(figures)
    ]

"""URLs of the servers: what is no URL is refused without a word of it; what is one reaches every client whole."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import quote

import psycopg2.extensions
import pytest
import redis
from flower.utils.broker import Broker
from hypothesis import given
from hypothesis import strategies as st
from kombu import Connection
from kombu.transport.redis import Channel

from helios import server_urls
from helios.server_urls import DATABASE, REDIS
from helios.stack import endpoints

NASTY = "/#[]?@:% ü;,+'\"&=\\{}|^`<>~!$*()é€"
RAW = ["S3cr/et", "12/34", "S3cr#et", "12#34", "S3cr[et", "S3cr]et", "S3cr?et", "12?34", "S3cr@et", "100%", "S3 cret"]
RAW += ["S3crét", "S3c%zzret", "S3cr\\et", 'S3cr"et', "S3cr^et", "S3cr|et", "S3cr{et", "S3cr<et", "S3cret\n"]
RAW += ["S3c%ffret", "S3c%00ret"]


@pytest.mark.parametrize("password", RAW)
@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("postgresql://helios:", "@127.0.0.1:1/helios", DATABASE),
        ("redis://:", "@127.0.0.1:1/0", REDIS),
        ("unix://:", "@/run/valkey.sock?db=0", REDIS),
    ],
)
def test_a_password_that_is_not_encoded_is_refused_without_a_word_of_it(
    before: str, after: str, kind: server_urls.Kind, password: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{kind.variable} cannot be read as .* write it URL-encoded") as refusal:
        server_urls.read(f"{before}{password}{after}", kind)
    shown = str(refusal.value)
    assert "S3c" not in shown
    assert "12" not in shown
    assert "127.0.0.1" not in shown


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("redis://h/x", "the database must be a number, was 'x'"),
        ("redis://h/0/1", "the database must be a number, was '0/1'"),
        ("redis://h/0?db=1", "the parameter 'db' is not known, known are ssl_ca_certs"),
        ("redis://h:99999/0", "the port must be a number from 1 to 65535, was 99999"),
        ("redis://h:0/0", "the port must be a number from 1 to 65535, was 0"),
        ("unix:///run/x.sock?virtual_host=1", "the parameter 'virtual_host' is not known, known are db"),
        ("unix://run/x.sock", "the path of the socket must follow unix://"),
        ("unix:///", "the path of the socket must follow unix://"),
        ("unix:///run/x.sock?db=-1", "the database must be a number, was '-1'"),
        ("redis://one:1,two:2/0", "cannot be read as redis://:password@host:6379/0"),
        ("redis://h/0#x", "cannot be read as redis://:password@host:6379/0"),
        ("", "must start with redis:// or rediss:// or unix://, was nothing://"),
        (":S3cret@h", "must start with redis:// or rediss:// or unix://, was nothing://"),
    ],
)
def test_what_a_client_would_meet_later_is_refused_at_once(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^HELIOS_REDIS_URL:? {sentence.replace('?', '[?]')}"):
        server_urls.read(url, REDIS)


def test_a_mistyped_parameter_of_the_database_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^HELIOS_DATABASE_URL: the parameter 'sslmod' is not known, known are appl"):
        server_urls.read("postgresql://h/x?sslmod=require", DATABASE)


def test_a_repr_shows_no_password() -> None:
    assert "S3cret" not in repr(server_urls.read("redis://:S3cret@h/0", REDIS))


passwords = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1) | st.just(NASTY)


@given(password=passwords)
def test_an_encoded_password_reaches_every_client_whole(password: str) -> None:
    login = f"redis://helios:{quote(password, safe='')}@queue.example:6380/3"
    assert redis.Redis.from_url(login).connection_pool.connection_kwargs["password"] == password
    broker = Connection(endpoints.celery_broker(login))
    assert (broker.password, broker.hostname, broker.port, broker.virtual_host) == (
        password,
        "queue.example",
        6380,
        "3",
    )
    monitor = Broker(endpoints.celery_broker(login)).redis.connection_pool.connection_kwargs
    assert (monitor["password"], monitor["db"]) == (password, 3)

    entry = endpoints.django_database(f"postgresql://me:{quote(password, safe='')}@db.example:5433/h")
    assert entry["PASSWORD"] == password
    words = {"host": entry["HOST"], "user": entry["USER"], "password": entry["PASSWORD"]}
    assert psycopg2.extensions.parse_dsn(psycopg2.extensions.make_dsn(**words))["password"] == password


@given(folder=passwords.map(lambda name: "/run/" + name.replace("/", "_")), password=passwords)
def test_a_socket_in_any_folder_reaches_every_client(folder: str, password: str) -> None:
    url = f"unix://:{quote(password, safe='')}@{quote(folder)}/valkey.sock?db=3"
    pool = redis.Redis.from_url(url).connection_pool.connection_kwargs
    assert (pool["path"], pool["password"], pool["db"]) == (f"{folder}/valkey.sock", password, 3)
    channel = Channel.__new__(Channel)
    channel.connection = SimpleNamespace(client=Connection(endpoints.celery_broker(url)), default_port=6379)
    broker = channel._connparams()
    assert (broker["path"], broker["password"], broker["db"]) == (f"{folder}/valkey.sock", password, 3)
    entry = endpoints.django_database(f"postgresql://me@/h?host={quote(folder, safe='')}&port=5433")
    assert (entry["HOST"], entry["PORT"]) == (folder, "5433")

"""A stream over WebSocket equals one without, whatever clients do; what is wrong gets one line."""

import asyncio
import signal
import socket as sockets
import subprocess
import sys
import time

import numpy as np
import pytest

aiohttp = pytest.importorskip("aiohttp", reason="the extra `server` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `server` is not installed")

from serving import CLASSES, FEATURES, connected, convert_steps, convert_tagger, process, running  # noqa: E402

import streaming  # noqa: E402
from streaming.cli import main  # noqa: E402
from streaming.errors import ArtifactError, InputError, StateMismatchError  # noqa: E402
from streaming.server import Settings  # noqa: E402
from streaming.server.origins import refusal  # noqa: E402
from streaming.server.tokens import TokenSigner, load_key  # noqa: E402

WORDS = "The dog barks at a cat and sleeps now .".split()


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    return convert_steps(tmp_path_factory.mktemp("steps") / "steps.tflite")


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    return convert_tagger(tmp_path_factory.mktemp("tagger") / "tagger.tflite")


def frames(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, FEATURES)).astype("float32")


def alone(path, x):
    stream = streaming.load(path).create_stream()
    return np.concatenate([stream.feed(x), stream.finish()])


def test_a_stream_over_the_wire_equals_one_without(steps):
    x = frames(3000)

    async def talk():
        async with running(steps) as server, connected(server.make_url("/stream")) as client:
            assert client.ready["model"]["delay"] == 1
            # JSON and binary, one step and thousands: the pieces of a long answer are joined by the client.
            parts = [await client.say(type="feed", x=x[:1].tolist()), await client.say(type="feed", x=x[1:7].tolist())]
            await client.socket.send_bytes(x[7:].tobytes())
            pieces = await client.answers()
            assert len(pieces) > 1
            parts += [*pieces, await client.say(type="finish")]
            assert parts[-1]["position"] == len(x)
            assert await client.say(type="reset") == {"type": "reset", "position": 0}
            again = await client.say(type="feed", x=x[:9].tolist())
            return np.array([row for part in parts for row in part["y"]], "float32"), again["y"]

    rows, again = asyncio.run(talk())
    expected = alone(steps, x)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(np.array(again, "float32"), expected[:8])


def test_binary_outputs_are_the_same_floats(steps):
    x = frames(50)

    async def talk():
        async with running(steps) as server, connected(server.make_url("/stream?format=binary")) as client:
            await client.socket.send_bytes(x.tobytes())
            rows = await client.socket.receive_bytes()
            (last,) = await client.answers()
            assert last["rows"] == 49
            return np.frombuffer(rows, "<f4").reshape(-1, CLASSES)

    np.testing.assert_array_equal(asyncio.run(talk()), alone(steps, x)[:49])


def test_clients_together_share_invokes_and_equal_themselves_alone(steps):
    inputs = [frames(60, seed) for seed in range(6)]

    async def talk():
        async with running(steps, max_wait=1.0) as server:

            async def one(x):
                async with connected(server.make_url("/stream")) as client:
                    parts = [await client.say(type="feed", x=[row.tolist()]) for row in x]
                    parts.append(await client.say(type="finish"))
                    return [row for part in parts for row in part["y"]]

            rows = await asyncio.gather(*map(one, inputs))
            async with aiohttp.ClientSession() as session, session.get(server.make_url("/metrics")) as answer:
                return rows, await answer.text()

    rows, metrics = asyncio.run(talk())
    for x, found in zip(inputs, rows, strict=True):
        np.testing.assert_allclose(found, alone(steps, x), atol=1e-6)
    counted = dict(line.split(" ") for line in metrics.splitlines() if not line.startswith("#"))
    taken, invokes = (float(counted[f"streaming_batcher_{name}_total"]) for name in ("rows", "invokes"))
    assert taken > 1.5 * invokes
    assert float(counted["streaming_steps_total"]) == sum(map(len, inputs))
    assert float(counted['streaming_messages_total{type="feed"}']) == 360
    assert float(counted["streaming_connections_accepted_total"]) == 6
    assert float(counted["streaming_message_seconds_count"]) == 366


def test_words_over_the_wire_are_those_of_the_task(tagger):
    expected = [(t.word, t.tag, t.score) for t in streaming.pipeline(tagger).tag(WORDS)]

    async def talk():
        async with running(tagger) as server, connected(server.make_url("/stream")) as client:
            assert client.ready["model"]["labels"] == ["N", "V", "X"]
            first = await client.say(type="feed", text="The dog barks ")
            assert [event["word"] for event in first["events"]] == ["The"]
            rest = await client.say(type="feed", words=WORDS[3:])
            last = await client.say(type="finish")
            # The next sentence needs no reset.
            again = await client.say(type="feed", words=WORDS)
            assert (last["position"], again["position"]) == (0, len(WORDS))
            return [*first["events"], *rest["events"], *last["events"]], again["events"]

    events, again = asyncio.run(talk())
    assert [(e["word"], e["tag"]) for e in events] == [(word, tag) for word, tag, _ in expected]
    np.testing.assert_allclose([e["score"] for e in events], [score for *_, score in expected], atol=1e-6)
    assert [e["tag"] for e in again] == [tag for _, tag, _ in expected][:-2]


def test_a_killed_server_is_resumed_bit_for_bit(steps, tagger):
    x, expected = frames(40), alone(steps, frames(40))

    async def first(url):
        async with connected(f"{url}/stream") as client:
            rows = (await client.say(type="feed", x=x[:23].tolist()))["y"]
            token = (await client.say(type="save"))["token"]
            await client.say(type="feed", x=x[:5].tolist())  # lost with the server
            return rows, token

    async def second(url, token):
        async with connected(f"{url}/stream") as client:
            assert await client.say(type="resume", token=token) == {"type": "resumed", "position": 23}
            return (await client.say(type="feed", x=x[23:].tolist()))["y"] + (await client.say(type="finish"))["y"]

    with process(steps, "--port", "0") as (server, url):
        before, token = asyncio.run(first(url))
        server.kill()
        assert server.wait() == -signal.SIGKILL
    with process(steps, "--port", "0") as (server, url):
        after = asyncio.run(second(url, token))
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=60) == 0
    np.testing.assert_array_equal(np.array(before + after, "float32"), expected)


def test_words_that_wait_are_in_the_token(tagger):
    expected = [t.tag for t in streaming.pipeline(tagger).tag(WORDS)]

    async def talk(cut):
        async with running(tagger) as server, connected(server.make_url("/stream")) as client:
            before = (await client.say(type="feed", words=WORDS[:cut]))["events"]
            token = (await client.say(type="save"))["token"]
            await client.say(type="feed", text="something else entirely")
            assert (await client.say(type="resume", token=token))["position"] == cut
            after = (await client.say(type="feed", words=WORDS[cut:]))["events"]
            return [*before, *after, *(await client.say(type="finish"))["events"]]

    for cut in (0, 1, 5):
        found = asyncio.run(talk(cut))
        assert [(e["word"], e["tag"]) for e in found] == list(zip(WORDS, expected, strict=True))


BAD = [
    ("{{", "expected a JSON object"),
    ("3", "expected a JSON object"),
    # How deep that is depends on the version of Python: from 3.13 on, that it ends too early comes first.
    ("[" * 5000, "nested too deeply" if sys.version_info < (3, 13) else "expected a JSON object"),
    ('{"type": "fly"}', "expected a 'type' among feed, finish"),
    ('{"x": [[1]]}', "expected a 'type' among feed, finish"),
    ('{"type": "feed"}', "has one field, x or text or words; got none"),
    ('{"type": "save", "name": "a"}', "has no fields; got 'name'"),
    ('{"type": "feed", "text": "hello"}', "is fed 'x', got 'text'"),
    ('{"type": "feed", "x": [[1, 2]]}', "has shape (1, 2), expected float32 (steps, 5)"),
    ('{"type": "feed", "x": [[1, 2], [3]]}', "is no array"),
    ('{"type": "feed", "x": [["a", 2, 3, 4, 5]]}', "expected float32"),
    ('{"type": "feed", "x": [[NaN, 2, 3, 4, 5]]}', "JSON has no NaN"),
    ('{"type": "feed", "x": [[1e400, 2, 3, 4, 5]]}', "holds inf"),
    ('{"type": "encode", "x": [1]}', "no signature 'encode'"),
    ('{"type": "resume", "token": "x"}', "that is no token"),
    ('{"type": "resume", "token": 5}', "that is no token"),
    (b"123", "got 3 bytes, expected steps of 5 float32"),
    (np.full(5, np.nan, "<f4").tobytes(), "holds nan"),
]


def test_bad_messages_get_a_line_each_and_move_nothing(steps):
    x = frames(12)

    async def talk():
        async with running(steps) as server, connected(server.make_url("/stream")) as client:
            rows = (await client.say(type="feed", x=x[:6].tolist()))["y"]
            for message, expected in BAD:
                await (client.socket.send_bytes if isinstance(message, bytes) else client.socket.send_str)(message)
                (answer,) = await client.answers()
                assert (answer["type"], answer["position"]) == ("error", 6), message
                assert expected in answer["message"]
                assert "\n" not in answer["message"]
            rows += (await client.say(type="feed", x=x[6:].tolist()))["y"]
            rows += (await client.say(type="finish"))["y"]
            finished = await client.say(type="feed", x=x[:1].tolist())
            assert "finished" in finished["message"]
            return rows

    np.testing.assert_array_equal(np.array(asyncio.run(talk()), "float32"), alone(steps, x))


def test_limits_of_size_number_and_time(steps):
    async def talk():
        async with running(steps, max_message=40_000, max_connections=2) as server:
            url = server.make_url("/stream")
            async with connected(url) as one:
                assert one.ready["limits"]["max_message"] == 40_000
                async with connected(url), aiohttp.ClientSession() as session:
                    with pytest.raises(aiohttp.WSServerHandshakeError) as full:
                        await session.ws_connect(url)
                    assert full.value.status == 503
                    async with session.get(server.make_url("/healthz")) as health:
                        assert (health.status, (await health.json())["connections"]) == (503, 2)
                await one.socket.send_str(" " * 40_001)
                closed = await one.socket.receive(timeout=60)
                assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1009)
                assert closed.extra == "a message has more than 40000 bytes; send smaller ones"
        async with running(steps, idle_timeout=1.0) as server:
            url = server.make_url("/stream")
            async with connected(url) as idle:
                began = time.monotonic()
                await idle.say(type="feed", x=frames(3).tolist())
                token = await idle.socket.receive_json(timeout=60)
                closed = await idle.socket.receive(timeout=60)
                assert (closed.data, closed.extra) == (1008, "no message for 1 seconds")
                assert 1.0 <= time.monotonic() - began < 60
            async with connected(url) as again:
                assert (await again.say(type="resume", token=token["token"]))["position"] == 3

    asyncio.run(talk())


@pytest.mark.slow
def test_a_slow_reader_holds_back_the_computing_and_is_dropped(steps):
    async def talk():
        async with running(steps, send_timeout=1.5, idle_timeout=60) as server:
            reader, writer = await asyncio.open_connection(server.host, server.port, limit=1024)
            writer.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
            head = "GET /stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            writer.write(
                f"{head}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            reader._transport.pause_reading()
            # 200 messages of 1000 steps each: 12 MB of answers that nobody reads.
            payload = frames(1000).tobytes()
            message = b"\x82\xff" + len(payload).to_bytes(8, "big") + b"\0\0\0\0" + payload

            async def pour():
                for _ in range(200):
                    writer.write(message)
                    await writer.drain()

            pouring = asyncio.ensure_future(pour())
            # Another client is served meanwhile.
            async with connected(server.make_url("/stream")) as other, aiohttp.ClientSession() as session:
                for _ in range(20):
                    await other.say(type="feed", x=frames(2).tolist())
                for _ in range(600):
                    await asyncio.sleep(0.1)
                    async with session.get(server.make_url("/metrics")) as answer:
                        text = await answer.text()
                    if 'streaming_connections_closed_total{reason="slow reader"} 1.0' in text:
                        break
                else:
                    pytest.fail("the slow reader was not dropped")
            pouring.cancel()
            writer.close()
            return float(next(r for r in text.splitlines() if r.startswith("streaming_steps_total")).split()[1])

    # Kernel buffers take some; most of the 200,000 steps were never computed.
    assert asyncio.run(talk()) < 150_000


def test_a_client_that_disappears_leaves_nothing(steps):
    async def talk():
        async with running(steps) as server:
            url = server.make_url("/stream")
            async with connected(url) as other:
                async with aiohttp.ClientSession() as session:
                    socket = await session.ws_connect(url)
                    await socket.send_bytes(frames(5000).tobytes())
                    socket._response.connection.transport.abort()
                async with aiohttp.ClientSession() as session:
                    for _ in range(1200):
                        async with session.get(server.make_url("/healthz")) as health:
                            count = (await health.json())["connections"]
                        if count == 1:
                            break
                        await asyncio.sleep(0.05)
                assert count == 1
                assert (await other.say(type="feed", x=frames(3).tolist()))["position"] == 3

    asyncio.run(talk())


def test_a_stopping_server_says_goodbye_with_a_token(steps):
    async def talk(server, url):
        async with connected(f"{url}/stream") as client:
            await client.say(type="feed", x=frames(4).tolist())
            server.send_signal(signal.SIGTERM)
            saved = await client.socket.receive_json(timeout=60)
            closed = await client.socket.receive(timeout=60)
            assert (closed.data, closed.extra) == (1001, "the server stops")
            return saved["token"]

    with process(steps, "--port", "0") as (server, url):
        token = asyncio.run(talk(server, url))
        assert server.wait(timeout=60) == 0
    model = streaming.load(steps)
    signer = TokenSigner(load_key(steps.parent / "serve.key"), 60, f"{model.fingerprint} None")
    assert model.restore(signer.read(token)[1][0]).position == 4


def test_a_stopping_server_sends_no_token_to_a_client_that_has_said_nothing(steps):
    # Its `resume` may be on the way: it would go on from the empty stream.
    async def talk(server, url):
        async with connected(f"{url}/stream") as client:
            server.send_signal(signal.SIGTERM)
            closed = await client.socket.receive(timeout=60)
            assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1001)

    with process(steps, "--port", "0") as (server, url):
        asyncio.run(talk(server, url))
        assert server.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "anything", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("http://localhost:8000", "localhost:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("https://demo.example", "127.0.0.1:8000", True),
        ("http://evil.example", "127.0.0.1:8000", False),
        ("http://localhost:9000", "localhost:8000", False),
        ("null", "127.0.0.1:8000", False),
        ("http://rebound.example:8000", "rebound.example:8000", False),
    ],
)
def test_only_pages_that_may_connect_do(origin, host, allowed, tmp_path):
    settings = Settings(origins=("https://demo.example",), key_file=tmp_path / "key")
    headers = {"Host": host} | ({"Origin": origin} if origin else {})
    assert (refusal(headers, settings) is None) == allowed


def test_a_foreign_page_is_refused_at_the_handshake(steps):
    async def talk():
        async with running(steps) as server, aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(server.make_url("/stream"), origin="http://evil.example")
            assert refused.value.status == 403
            async with session.get(server.make_url("/")) as page:
                assert "default-src 'self'" in page.headers["Content-Security-Policy"]
                assert "<title>" in await page.text()

    asyncio.run(talk())


def test_tokens_cannot_be_changed_made_or_kept_forever(tmp_path):
    key = load_key(tmp_path / "new" / "key")
    assert key == load_key(tmp_path / "new" / "key")
    signer = TokenSigner(key, 60, "this")
    token = signer.sign({"a": 1}, [b"one", b"", b"three"])
    assert signer.read(token) == ({"a": 1}, [b"one", b"", b"three"])
    for place in range(0, len(token) - 1, 7):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(StateMismatchError):
            signer.read(changed)
    for wrong in (token[:-5], "", None, "é", [1]):
        with pytest.raises(StateMismatchError):
            signer.read(wrong)
    with pytest.raises(StateMismatchError, match="another key"):
        TokenSigner(b"x" * 32, 60, "this").read(token)
    with pytest.raises(StateMismatchError, match="older than"):
        TokenSigner(key, -1, "this").read(token)
    with pytest.raises(StateMismatchError, match="another model"):
        TokenSigner(key, 60, "that").read(token)


def test_a_key_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "key"
    load_key(path)
    path.chmod(0o644)
    with pytest.raises(ArtifactError, match="chmod 600"):
        load_key(path)
    path.write_bytes(b"short")
    path.chmod(0o600)
    with pytest.raises(ArtifactError, match="5 bytes"):
        load_key(path)


def test_another_models_token_is_refused(steps, tagger):
    async def talk():
        key = steps.parent / "serve.key"
        async with running(steps) as server, connected(server.make_url("/stream")) as client:
            foreign = (await client.say(type="save"))["token"]
        async with running(tagger, key_file=key) as server, connected(server.make_url("/stream")) as client:
            answer = await client.say(type="resume", token=foreign)
            assert "the token is of another model" in answer["message"]
            return (await client.say(type="feed", words=["dog"]))["position"]

    assert asyncio.run(talk()) == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"port": 70000}, "port is 70000"),
        ({"max_connections": 0}, "max_connections is 0"),
        ({"idle_timeout": float("nan")}, "idle_timeout is nan"),
        ({"origins": ("demo.example",)}, "origin 'demo.example'"),
    ],
)
def test_options_out_of_range_are_refused(options, expected):
    with pytest.raises(InputError, match=expected):
        Settings(**options)


def test_the_command_refuses_in_one_line(steps, tmp_path, capsys):
    key = ("--key", str(tmp_path / "key"))
    with sockets.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", str(steps), *key, "--port", str(taken.getsockname()[1])]) == 2
    err = capsys.readouterr().err
    assert err.startswith("streaming: error: cannot listen on 127.0.0.1")
    assert err.count("\n") == 1
    assert main(["serve", str(tmp_path / "none.tflite"), *key]) == 2


def test_a_server_for_everyone_warns(steps):
    with process(steps, "--port", "0", "--host", "0.0.0.0") as (server, _):
        assert "warning: everyone who reaches this address" in server.stderr.readline()


def test_without_the_extra_the_command_says_what_to_install(steps):
    code = (
        "import sys; sys.modules['aiohttp'] = None\n"
        f"from streaming.cli import main; sys.exit(main(['serve', {str(steps)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'rnnzoo[server]'" in done.stderr


def test_a_late_answer_says_so(steps):
    async def talk():
        async with running(steps, late=1e-9) as server, connected(server.make_url("/stream")) as client:
            assert client.ready["limits"]["late"] == 1e-9
            assert (await client.say(type="feed", x=frames(1).tolist()))["late"]
            async with aiohttp.ClientSession() as session, session.get(server.make_url("/metrics")) as answer:
                return await answer.text()

    assert "streaming_late_answers_total 1.0" in asyncio.run(talk())


def test_many_small_messages_of_one_client_hold_up_nobody(steps):
    """500 messages that are there at once are answered one in each turn of the loop."""
    row = frames(1).tolist()

    async def talk():
        async with running(steps) as server:
            url = server.make_url("/stream")
            async with connected(url) as greedy, connected(url) as modest:
                for _ in range(500):
                    await greedy.socket.send_json({"type": "feed", "x": row})
                for position in range(1, 6):
                    assert (await modest.say(type="feed", x=row))["position"] == position
                first = [(await greedy.answers())[-1]["position"] for _ in range(500)]
                assert first == list(range(1, 501))

    asyncio.run(talk())

"""The readers that `fuzz_inputs.py` attacks: sound examples from `pretrained`, and the errors that each may raise."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_inputs import Case, Generator, Target, changed, damaged

ROOT = Path(__file__).resolve().parents[1]
PRETRAINED = ROOT / "pretrained"
# Small files of several kinds: rows, beats, words.
FILES = ("anomaly-nab", "ecg-beats-stream", "speaker-vowels", "forecast-etth1")
WORDS = "intent-clinc"
_DIGEST = hashlib.sha256().digest_size
_TEXTS = (
    *("a-", "www.", "a@", "http://x!", "n't", "''", ". A", "é", "e\u0301", "你好", "\u200d", "\ud800", "\n\n", "U.S."),
    *("don't", "1.5", "(", '"', "\0", "ﬁ", "ß", "\U0001f600", " ", "\t", "Mr.", "---", "x" * 300),
)

Promised = tuple[type[Exception], ...]


@contextlib.contextmanager
def blob() -> Iterator[tuple[Case, Promised]]:
    """Saved streams, their checksum made right: restored and run."""
    import streaming
    from streaming.errors import StateMismatchError

    models = [streaming.load(PRETRAINED / name) for name in FILES]
    saved = []
    for model in models:
        stream = model.create_stream()
        stream.feed(_steps(model, 3))
        saved.append(stream.save())

    def case(generator: Generator) -> None:
        place = int(generator.integers(len(models)))
        stream = models[place].restore(_sealed(saved[place], generator))
        stream.feed(_steps(models[place], 2))
        stream.finish()

    yield case, (StateMismatchError,)


@contextlib.contextmanager
def session() -> Iterator[tuple[Case, Promised]]:
    """Saved sessions of tasks, their JSON changed and their checksum made right: restored and run."""
    import streaming
    from streaming.errors import StateMismatchError

    tasks = [streaming.pipeline(PRETRAINED / name) for name in (*FILES, WORDS)]
    saved = []
    for task in tasks:
        session = task.session()
        list(session.feed(_piece(task)))
        saved.append(session.save())

    def case(generator: Generator) -> None:
        place = int(generator.integers(len(tasks)))
        session = tasks[place].session()
        session.restore(_sealed(saved[place], generator))
        list(session.feed(_piece(tasks[place])))
        list(session.finish())

    yield case, (StateMismatchError,)


@contextlib.contextmanager
def metadata() -> Iterator[tuple[Case, Promised]]:
    """Streaming files whose JSON or associated files are changed, all checksums made right: loaded and run."""
    from streaming.errors import StreamingError
    from streaming.runtime import artifact
    from streaming.runtime.model import StreamingModel
    from streaming.runtime.tasks import task_for

    parts = [_parts(PRETRAINED / name / "float32.tflite") for name in (*FILES, WORDS)]

    def case(generator: Generator) -> None:
        flatbuffer, text, files = parts[int(generator.integers(len(parts)))]
        tree, files = json.loads(text), dict(files)
        if generator.random() < 0.6:
            tree = changed(tree, generator)
        else:
            name = list(files)[int(generator.integers(len(files)))]
            data = files[name]
            if name.endswith(".json") and generator.random() < 0.7:
                files[name] = json.dumps(changed(json.loads(data), generator)).encode()
            else:
                files[name] = damaged(data, generator)
        if isinstance(tree, dict) and isinstance(tree.get("files"), dict):
            tree["files"] = {key: hashlib.sha256(data).hexdigest() for key, data in files.items()}
        content = _packed(flatbuffer, json.dumps(tree).encode(), files)
        model = StreamingModel(artifact.parse(content, "the file"))
        stream = model.create_stream()
        stream.feed(_steps(model, 3))
        stream.finish()
        if (model.metadata.task or {}).get("kind"):
            task = task_for(model)
            session = task.session()
            list(session.feed(_piece(task)))
            list(session.finish())

    yield case, (StreamingError,)


@contextlib.contextmanager
def manifest() -> Iterator[tuple[Case, Promised]]:
    """Manifests of a mirror."""
    from rnnzoo.errors import HubError
    from rnnzoo.hub.manifest import parse_manifest

    content = (ROOT / "zoo_configs" / "manifest.yaml").read_bytes()

    def case(generator: Generator) -> None:
        parse_manifest(damaged(content, generator), "the mirror")

    yield case, (HubError,)


@contextlib.contextmanager
def configuration() -> Iterator[tuple[Case, Promised]]:
    """Configurations of experiments: parsed, not trained."""
    from rnnzoo.errors import ConfigError
    from rnnzoo.registry.layout import config_paths
    from rnnzoo.runs.config import dump_config, parse_config

    texts = [path.read_bytes() for path in config_paths().values()]

    def case(generator: Generator) -> None:
        text = damaged(texts[int(generator.integers(len(texts)))], generator).decode("utf-8", "replace")
        config = parse_config(text, "the file")
        assert parse_config(dump_config(config), "the dump") == config

    yield case, (ConfigError,)


@contextlib.contextmanager
def text() -> Iterator[tuple[Case, Promised]]:
    """Texts: words, sentences, ids of words and of pieces. Nothing but white space is lost."""
    from streaming.errors import InputError
    from streaming.runtime import artifact
    from streaming.runtime.codec import TextCodec
    from streaming.runtime.lookup import HashTable, LookupTable, TextTable
    from streaming.runtime.text import WordEncoder
    from streaming.runtime.tokenization import sentences, tokenize

    encoder = WordEncoder.from_files(artifact.read(PRETRAINED / WORDS).files)
    files = artifact.read(PRETRAINED / "translate-tatoeba-de-en" / "int8.tflite").files
    codecs = [TextCodec.from_bytes(data) for name, data in files.items() if name.startswith(("source", "target"))]
    table = TextTable(LookupTable({"a": 1}, None, 2, HashTable(5)), ngrams=(1, 2), length=30)

    def case(generator: Generator) -> None:
        parts = generator.choice(len(_TEXTS), int(generator.integers(1, 30)))
        given = "".join(_TEXTS[part] * int(generator.integers(1, 200)) for part in parts)[:20_000]
        words = tokenize(given)
        assert "".join(words) == "".join(given.split()), "a character is lost"
        assert "".join(word for sentence in sentences(given) for word in sentence) == "".join(words)
        encoder.encode(words[:200])
        table.ids(np.array([given], object), "text", np.int64)
        for codec in codecs:
            codec.decode(codec.encode(given[:2000]))

    yield case, (InputError,)


@contextlib.contextmanager
def wav() -> Iterator[tuple[Case, Promised]]:
    """WAV files: never more samples than bytes."""
    from streaming.errors import InputError
    from streaming.runtime.audio import read_audio

    samples = (np.sin(np.arange(4000)) * 9000).astype("<i2").tobytes()
    sound = [_wav(samples, codec, channels, width) for codec, channels, width in ((1, 1, 2), (1, 2, 3), (3, 1, 4))]

    def case(generator: Generator) -> None:
        content = damaged(sound[int(generator.integers(len(sound)))], generator)
        if generator.random() < 0.5:  # the header, rather than samples
            content = damaged(content[:60], generator) + content[60:]
        recording = read_audio(io.BytesIO(content), 8000, mono=True, resample=False, name="the file")
        assert recording.ndim == 1
        assert len(recording) <= len(content)
        assert np.isfinite(recording).all()

    yield case, (InputError,)


@contextlib.contextmanager
def csv() -> Iterator[tuple[Case, Promised]]:
    """Tables of numbers and of texts, as training reads them."""
    from rnnzoo.data.config import RowsConfig
    from rnnzoo.data.files.reading import read_table
    from rnnzoo.data.source import read_source
    from rnnzoo.errors import RnnzooError

    rows = "".join(f"2024-01-01 00:{i:02}:00,{i / 7:.3f},{i % 3},{'ab'[i % 2]}\n" for i in range(60))
    sound = [
        f"time,a,b,label\n{rows}".encode(),
        rows.replace(",", ";").encode(),
        b'file,caption\na.png,"a, ""b"""\nb.png,c\n',
    ]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"

        def case(generator: Generator) -> None:
            place = int(generator.integers(len(sound)))
            path.write_bytes(damaged(sound[place], generator))
            if place == 2:
                list(read_table(path, ("file", "caption")))
            else:
                read_source(RowsConfig(dataset=f"series:{path}"))

        yield case, (RnnzooError,)


@contextlib.contextmanager
def bundle() -> Iterator[tuple[Case, Promised]]:
    """Bundles of which one file is changed: loaded as a Keras model, and as a stream with its reference."""
    import streaming
    from rnnzoo.bundles.reference import REFERENCE_FILE, prove
    from rnnzoo.errors import RnnzooError
    from rnnzoo.runs.store import load_run
    from streaming.errors import StreamingError

    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "bundle"
        shutil.copytree(PRETRAINED / "anomaly-nab", run)
        names = [
            path.name for path in sorted(run.iterdir()) if path.suffix in (".yaml", ".json", ".safetensors", ".txt")
        ]
        model = streaming.load(run)
        load_run(run)  # imports Keras

        def case(generator: Generator) -> None:
            path = run / names[int(generator.integers(len(names)))]
            sound = path.read_bytes()
            try:
                if path.suffix == ".json" and generator.random() < 0.7:
                    path.write_text(json.dumps(changed(json.loads(sound), generator)))
                else:
                    head = int(generator.choice((200, len(sound))))  # headers, rather than numbers
                    path.write_bytes(damaged(sound[:head], generator) + sound[head:])
                if path.name == REFERENCE_FILE:
                    prove(model, path)
                else:
                    load_run(run)
            finally:
                path.write_bytes(sound)

        yield case, (RnnzooError, StreamingError)


@contextlib.contextmanager
def websocket() -> Iterator[tuple[Case, Promised]]:
    """Messages to a server, and bytes that are none: each has an answer, or the connection is closed with a reason."""
    import aiohttp
    from aiohttp.test_utils import TestServer

    import streaming
    from streaming.server import Settings, create_app

    words = json.dumps({"type": "feed", "words": ["set", "a", "timer"]})
    sound = [
        words,
        '{"type": "feed", "text": "what is up"}',
        '{"type": "finish"}',
        '{"type": "save"}',
        '{"type": "reset"}',
    ]
    sound.append('{"type": "resume", "token": "abcdefgh"}')

    async def talk(generator: Generator, server: TestServer, session: aiohttp.ClientSession) -> None:
        if generator.random() < 0.2:
            await _raw(generator, server)
        async with session.ws_connect(server.make_url("/stream")) as socket:
            assert (await socket.receive_json(timeout=20))["type"] == "ready"
            for _ in range(int(generator.integers(1, 6))):
                message = sound[int(generator.integers(len(sound)))]
                if generator.random() < 0.5:
                    message = json.dumps(changed(json.loads(message), generator))
                    data = message.encode("utf-8", "replace")
                else:
                    data = damaged(message.encode(), generator)
                is_binary = generator.random() < 0.1
                frame = aiohttp.WSMsgType.BINARY if is_binary else aiohttp.WSMsgType.TEXT
                await socket.send_frame(data, frame)
                answer = await socket.receive(timeout=20)
                while answer.type is aiohttp.WSMsgType.TEXT and not json.loads(answer.data).get("done", True):
                    answer = await socket.receive(timeout=20)
                if answer.type is not aiohttp.WSMsgType.TEXT:
                    reason = (socket.close_code, answer.extra)
                    told = answer.type is aiohttp.WSMsgType.CLOSE and bool(answer.extra)
                    assert told, f"closed without a reason: {reason}"
                    assert answer.data != aiohttp.WSCloseCode.INTERNAL_ERROR, "the server failed"
                    return
                reply = json.loads(answer.data)
                assert "\n" not in reply.get("message", ""), reply

    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        settings = Settings(key_file=Path(folder) / "key")
        server = TestServer(create_app(streaming.load(PRETRAINED / WORDS), settings))
        runner.run(server.start_server())
        session = runner.run(_client())

        def case(generator: Generator) -> None:
            runner.run(talk(generator, server, session))

        yield case, ()
        runner.run(session.close())
        runner.run(server.close())


async def _client() -> Any:
    import aiohttp

    return aiohttp.ClientSession()


async def _raw(generator: Generator, server: Any) -> None:
    """Bytes that may be no handshake and no frames."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    request = (
        b"GET /stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    frame = b"\x81\x85\x01\x02\x03\x04" + b"hello"
    writer.write(damaged(request, generator) if generator.random() < 0.5 else request + damaged(frame * 3, generator))
    writer.write_eof()
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(1 << 16), 20)
    writer.close()


def _steps(model: Any, chunks: int) -> Any:
    """Ones, as many steps as so many chunks take."""
    infos = model.metadata.inputs
    steps = chunks * model.metadata.unit
    arrays = {i.name: np.ones((steps, *i.graph.shape) if i.time else i.graph.shape, i.graph.dtype) for i in infos}
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def _piece(task: Any) -> Any:
    if task.takes == "words":
        return ["what", "is", "up"]
    width = getattr(getattr(task, "reader", None), "width", 1)
    return np.ones((20, width)) if task.takes == "rows" else np.zeros(3000, "float32")


def _sealed(content: bytes, generator: Generator) -> bytes:
    """A blob whose header, as JSON or as bytes, or whose arrays are damaged, under a right checksum."""
    start = struct.Struct("<4sHI")
    magic, version, size = start.unpack_from(content)
    header, rest = content[start.size : start.size + size], content[start.size + size : -_DIGEST]
    kind = generator.random()
    if kind < 0.7:
        header = json.dumps(changed(json.loads(header), generator)).encode()
    elif kind < 0.85:
        header = damaged(header, generator)
    else:
        rest = damaged(rest, generator)
    header_and_rest = start.pack(magic, version, len(header)) + header + rest
    return header_and_rest + hashlib.sha256(header_and_rest).digest()


def _parts(path: Path) -> tuple[bytes, bytes, dict[str, bytes]]:
    """The flatbuffer of a file before its entry, its JSON, and its associated files."""
    from streaming.runtime import artifact

    whole = artifact.read(path)
    with zipfile.ZipFile(path) as archive:
        text = archive.read(artifact.METADATA_FILE)
    return whole.flatbuffer[: whole.metadata.flatbuffer_bytes], text, dict(whole.files)


def _packed(flatbuffer: bytes, text: bytes, files: dict[str, bytes]) -> bytes:
    # The graph's own entry of the text: its length, the text, zeros up to a multiple of 16.
    entry = len(text).to_bytes(4, "little") + text + bytes(-len(text) % 16)
    buffer = io.BytesIO()
    buffer.write(flatbuffer + entry)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, data in {"streaming.json": text, **files}.items():
            archive.writestr(name, data)
        archive.comment = b"0" * 64
    content = buffer.getvalue()[:-64]
    return content + hashlib.sha256(content).hexdigest().encode()


def _wav(samples: bytes, codec: int, channels: int, width: int) -> bytes:
    frame = channels * width
    form = struct.pack("<HHIIHH", codec, channels, 8000, 8000 * frame, frame, 8 * width)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (blob, session, metadata, manifest, configuration, text, websocket, wav, csv, bundle)
}

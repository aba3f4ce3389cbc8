"""If this fails, a dump elsewhere gives other numbers than the same dump here, or fewer records without a word."""

import gzip
import io
import json
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from command import Start
from pyarrow.parquet import write_table
from samples import lines
from servers import Server, fails, hangs_up, serving, stalls, truncates

pytestmark = pytest.mark.scale

GOOD = {"prompt_id": "p", "reward": 1.0, "log_prob": -1, "old_log_prob": -2, "response_length": 3}
QUICK = "from budget_cli.sources import remote; remote.pause = lambda seconds: None; remote.TIMEOUT = 15.0"
SECRET = "wJalrXUtnFEMI"
OPTIONS = ("-B", "1000", "-f", "json", "--precision", "17", "--max-errors", "1%")


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A server with S3's interface, and a client of it."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    port = running.get_host_and_port()[1]
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="AKIA",
        aws_secret_access_key=SECRET,
    )
    client.create_bucket(Bucket="dumps")
    yield client, port
    running.stop()


@pytest.fixture
def proxy(s3: Any) -> Iterator[Server]:
    """What stands before the S3 server and goes wrong when told."""
    with serving(Server(s3[1])) as running:
        yield running


def keys(proxy: Server) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": proxy.url,
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def unnamed(result: bytes) -> Any:
    """The result without the names of its sources."""
    answer = json.loads(result)
    for rejection in answer["rejections"]:
        del rejection["source"]
    return answer


@pytest.fixture(scope="module")
def here(budget_cli: Start, dump: Path) -> Any:
    """What the dump says, read from a file."""
    done = budget_cli("loss", dump, *OPTIONS)
    assert done.returncode == 0
    answer = unnamed(done.stdout)
    assert answer["records"] == {
        "read": 100_000,
        "used": 99_990,
        "rejected": 10,
        "blank": 0,
        "skipped": 0,
        "left_out": 0,
    }
    return answer


def test_an_object_of_200_mb_gives_the_same_result_whatever_goes_wrong_on_the_way(
    budget_cli: Start, s3: Any, proxy: Server, dump: Path, here: Any
) -> None:
    s3[0].upload_file(str(dump), "dumps", "run/dump.jsonl")
    proxy.faults = [fails, truncates, lambda _: False, stalls, hangs_up, fails, fails, truncates]
    done = budget_cli("loss", "s3://dumps/run/dump.jsonl", *OPTIONS, patch=QUICK, **keys(proxy))
    assert (done.returncode, proxy.faults) == (0, []), done.stderr.decode()
    assert unnamed(done.stdout) == here
    ranges = {asked for method, _, asked in proxy.got if method == "GET" and asked and "-1023" not in asked}
    assert len(ranges) == -(-dump.stat().st_size // (8 << 20))


@pytest.mark.parametrize("fault", [fails, truncates, stalls, hangs_up])
def test_what_never_comes_is_exit_3_and_no_result_that_passes(
    budget_cli: Start, s3: Any, proxy: Server, fault: Any
) -> None:
    s3[0].put_object(Bucket="dumps", Key="short/a.jsonl", Body=lines([GOOD] * 1000))
    proxy.faults = [fault] * 30  # aiohttp asks again by itself where a connection is closed
    done = budget_cli("loss", "s3://dumps/short/a.jsonl", *OPTIONS, patch=QUICK.replace("15.0", "2.0"), **keys(proxy))
    assert done.returncode == 3
    assert b"s3://dumps/short/a.jsonl: " in done.stderr
    assert b", after 6 attempts" in done.stderr
    assert SECRET.encode() not in done.stderr + done.stdout
    assert json.loads(done.stdout)["status"] == "fail"
    assert json.loads(done.stdout)["incomplete"]


def test_patterns_prefixes_compression_and_a_result_written_there(
    budget_cli: Start, s3: Any, proxy: Server, tmp_path: Path
) -> None:
    for number in range(12):
        body = lines([GOOD | {"prompt_id": number, "reward": number}, GOOD | {"prompt_id": number}] * 10)
        (tmp_path / f"{number}.jsonl").write_bytes(body)
        s3[0].put_object(Bucket="dumps", Key=f"many/{number}.jsonl", Body=gzip.compress(body) if number % 2 else body)
    local = unnamed(budget_cli("loss", tmp_path, *OPTIONS).stdout)
    for given in ("s3://dumps/many", "s3://dumps/many/", "s3://dumps/many/*.jsonl"):
        done = budget_cli("loss", given, *OPTIONS, "-o", "s3://dumps/out/loss.json", **keys(proxy))
        assert (done.returncode, done.stdout) == (0, b""), done.stderr.decode()
        assert unnamed(s3[0].get_object(Bucket="dumps", Key="out/loss.json")["Body"].read()) == local
    annotated = budget_cli("annotate", "s3://dumps/many", "-B", "2", **keys(proxy))
    assert annotated.stdout == budget_cli("annotate", tmp_path, "-B", "2").stdout


def test_a_result_that_cannot_be_written_is_exit_3_and_not_there(
    budget_cli: Start, s3: Any, proxy: Server, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines([GOOD]))
    done = budget_cli("loss", tmp_path, *OPTIONS, "-o", "s3://nowhere/loss.json", patch=QUICK, **keys(proxy))
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.startswith(b"budget-cli: s3://nowhere/loss.json: the result could not be written: ")


def test_no_object_and_no_access_are_one_line(budget_cli: Start, s3: Any, proxy: Server) -> None:
    done = budget_cli("loss", "s3://dumps/nothing.jsonl", *OPTIONS, **keys(proxy))
    assert (done.returncode, done.stderr) == (3, b"budget-cli: s3://dumps/nothing.jsonl: no such object\n")


def parquet() -> bytes:
    buffer, made = io.BytesIO(), random.Random(1)
    columns = {
        "prompt_id": [f"p{i // 4}" for i in range(20_000)],
        "completion": [made.randbytes(200).hex() for _ in range(20_000)],
        "reward": [made.random() for _ in range(20_000)],
        "log_prob": [-1.0] * 20_000,
        "old_log_prob": [-2.0] * 20_000,
        "response_length": [i % 2000 for i in range(20_000)],
    }
    write_table(pyarrow.table(columns), buffer, row_group_size=2000)
    return buffer.getvalue()


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_of_parquet_the_columns_that_are_needed_are_fetched_whatever_goes_wrong(
    budget_cli: Start, s3: Any, proxy: Server, server: Server, tmp_path: Path, jobs: str
) -> None:
    data = parquet()
    (tmp_path / "a.parquet").write_bytes(data)
    s3[0].put_object(Bucket="dumps", Key="columns/a.parquet", Body=data)
    server.objects["/a.parquet"] = data
    local = unnamed(budget_cli("loss", tmp_path, *OPTIONS).stdout)
    for url, asked in (("s3://dumps/columns/", proxy), (f"{server.url}/a.parquet", server)):
        asked.faults = [fails, truncates, lambda _: False, hangs_up, fails]
        asked.got.clear()
        done = budget_cli("loss", url, *OPTIONS, "-j", jobs, patch=QUICK, **keys(proxy))
        assert (done.returncode, asked.faults) == (0, []), done.stderr.decode()
        assert unnamed(done.stdout) == local
        ranges = {each for method, _, each in asked.got if method == "GET" and "bytes=" in each}
        lengths = [int(stop) - int(start) + 1 for start, stop in (each[6:].split("-") for each in ranges)]
        assert sum(lengths) < len(data) / 4


def test_parquet_on_a_server_without_ranges_is_refused(budget_cli: Start, server: Server) -> None:
    server.objects["/a.parquet"], server.ranges = parquet(), False
    done = budget_cli("loss", f"{server.url}/a.parquet", *OPTIONS, patch=QUICK)
    assert done.returncode == 3
    assert b"/a.parquet: this is Parquet, which is read from its end, and this server gives no ranges: " in done.stderr


# ---- plain HTTP


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_server_without_ranges_gives_the_same(
    budget_cli: Start, server: Server, dump: Path, here: Any, ranges: bool, jobs: int
) -> None:
    server.objects["/dump.jsonl"] = dump.read_bytes()
    server.ranges = ranges
    server.faults = [truncates, fails, hangs_up]
    done = budget_cli("loss", f"{server.url}/dump.jsonl?key=secret", *OPTIONS, "-j", str(jobs), patch=QUICK)
    assert (done.returncode, unnamed(done.stdout)) == (0, here), done.stderr.decode()
    assert b"secret" not in done.stdout + done.stderr


def test_a_server_that_stops_giving_ranges_gives_no_wrong_dump(budget_cli: Start, server: Server) -> None:
    server.objects["/a.jsonl"] = lines([GOOD] * 200_000)

    def ignore(_: Any) -> bool:
        server.ranges = False
        return False

    server.faults = [ignore]
    done = budget_cli("loss", f"{server.url}/a.jsonl", *OPTIONS, patch=QUICK)
    assert done.returncode == 3
    assert b"bytes of the 8,388,608 requested from byte " in done.stderr


def test_an_object_that_is_replaced_meanwhile_is_exit_3(budget_cli: Start, server: Server) -> None:
    server.objects["/a.jsonl"] = lines([GOOD] * 1000)

    def replace(_: Any) -> bool:
        server.objects["/a.jsonl"] = lines([GOOD | {"reward": 2.0}] * 1000)
        return False

    server.faults = [replace]
    done = budget_cli("loss", f"{server.url}/a.jsonl", *OPTIONS, patch=QUICK)
    assert done.returncode == 3
    assert b"/a.jsonl: was replaced by another object while being read" in done.stderr


def test_an_answer_whose_end_nobody_can_tell_is_refused(budget_cli: Start, server: Server) -> None:
    server.objects["/a.jsonl"] = lines([GOOD] * 100)
    server.ranges = server.says_length = False
    done = budget_cli("loss", f"{server.url}/a.jsonl", *OPTIONS, patch=QUICK)
    assert done.returncode == 3
    assert (
        b"the server does not report where it ends, so truncation would go unnoticed: download it first" in done.stderr
    )


@pytest.mark.parametrize("data", [b"", gzip.compress(lines([GOOD] * 5)), lines([GOOD] * 5)])
def test_small_and_compressed_objects(budget_cli: Start, server: Server, data: bytes) -> None:
    server.objects["/a"] = data
    done = budget_cli("loss", f"{server.url}/a", *OPTIONS, "--allow-empty", patch=QUICK)
    assert (done.returncode, json.loads(done.stdout)["records"]["used"]) == (0, 5 if data else 0), done.stderr.decode()


def test_a_password_is_not_shown(budget_cli: Start, server: Server) -> None:
    url = server.url.replace("http://", "http://me:secret@")
    done = budget_cli("loss", f"{url}/a.jsonl?sig=secret", *OPTIONS, patch=QUICK)
    port = server.server_address[1]
    said = f"budget-cli: http://…@127.0.0.1:{port}/a.jsonl?…: no such object\n"
    assert (done.returncode, done.stderr.decode()) == (3, said)

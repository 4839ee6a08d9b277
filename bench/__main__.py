"""``make bench``: measure, and print what was measured with the ratios.

``make bench ARGS="import --users 200000"`` measures imports, ``listing`` the list of users,
``neighbours`` what endpoints that hang cost healthy ones, ``backfill`` filling a new receiver,
``pruning`` what removing old rows costs, ``ordering`` what order costs, and that it holds,
``exports --users 1000000`` files of users, ``workers`` two worker processes beside one, ``history``
delivering beside millions of old deliveries, ``profile`` where the time of a delivery goes.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvloop

from bench import (
    backfill,
    draining,
    exports,
    importing,
    neighbours,
    ordering,
    profiling,
    pruning,
)
from bench.delivery import Throughput, bare_loop, record_and_deliver
from bench.listing import pages
from bench.receiver import receiver
from bench.serving import (
    idle_latency,
    memory_while_draining,
    serving,
    users_per_second,
)
from tests.support.postgres import Cluster


@contextmanager
def databases(*names: str) -> Iterator[dict[str, list[str]]]:
    """URLs of empty databases of these names, of each kind; PostgreSQL with durable commits."""
    with tempfile.TemporaryDirectory() as folder, Cluster(durable=True) as cluster:
        yield {
            "SQLite": [f"sqlite:///{folder}/{name}.db" for name in names],
            "PostgreSQL": [cluster.create_database(name) for name in names],
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        default="delivery",
        choices=[
            *("delivery", "workers", "history", "pruning", "profile", "neighbours", "backfill"),
            *("listing", "import", "ordering", "exports"),
        ],
        help="what to measure",
    )
    parser.add_argument("--events", type=int, default=30_000, help="events to deliver")
    parser.add_argument("--backlog", type=int, default=200_000, help="deliveries to drain")
    parser.add_argument("--users", type=int, default=100_000, help="users to list or move")
    parser.add_argument("--rows", type=int, default=1_000_000, help="old rows to prune")
    parser.add_argument("--old", type=int, default=5_000_000, help="old deliveries to keep")
    chosen = parser.parse_args()
    measures: dict[str, Callable[[], None]] = {
        "listing": lambda: _listing(chosen.users),
        "import": lambda: _importing(chosen.users),
        "backfill": lambda: _backfill(chosen.users),
        "exports": lambda: _exports(chosen.users),
        "neighbours": _neighbours,
        "ordering": lambda: _ordering(chosen.events),
        "pruning": lambda: _pruning(chosen.rows),
        "workers": lambda: _workers(chosen.events),
        "history": lambda: _history(chosen.events, chosen.old),
        "profile": lambda: _profile(chosen.events),
        "delivery": lambda: _delivery(chosen.events, chosen.backlog),
    }
    measures[chosen.what]()


def _listing(users: int) -> None:
    print(f"Pages of 50 of {users} users, over HTTP, beside plain SQL for the same rows")
    print("  goals without a count: p99 at most 25 over plain and 60 in all; exact first page: 100")
    with databases("listing") as found:
        for name, (url,) in found.items():
            print(f"\n{name}")
            asyncio.run(pages(url, users))


def _delivery(events: int, backlog: int) -> None:
    with receiver() as url, databases("first", "second", "third", "serving") as found:
        for name, (*delivery_urls, serving_url) in found.items():
            bare, ours = [], []
            # In turns, since a machine is not equally fast all the time.
            for delivery_url in delivery_urls:
                bare.append(uvloop.run(bare_loop(url, events)))
                ours.append(uvloop.run(record_and_deliver(delivery_url, url, events)))
            print(f"\n{name}")
            _print_throughput(_fastest(bare), _fastest(ours))
            asyncio.run(_print_serving(serving_url, url, backlog))


def _fastest(runs: Sequence[Throughput]) -> Throughput:
    return max(runs, key=lambda run: run.per_second)


def _neighbours() -> None:
    print(
        "Commit to arrival, 100 events/s to each of 10 healthy endpoints; goal: p99 beside 10 that"
    )
    print("hang, with 5,000 deliveries queued for each, at most twice that alone, and 150 ms")
    with receiver() as url, databases("neighbours") as found:
        for name, (database_url,) in found.items():
            alone, beside = uvloop.run(neighbours.measure(database_url, url, 10))
            print(f"\n{name}")
            print(f"  alone    {alone.median:9.1f} ms p50, {alone.p99:9.1f} ms p99")
            print(f"  beside   {beside.median:9.1f} ms p50, {beside.p99:9.1f} ms p99")
            print(f"  ratio of the p99   {beside.p99 / alone.p99:9.2f}")


def _backfill(users: int) -> None:
    print(f"A new receiver gets {users} users, while 100 of them change each second")
    with databases("backfill") as found:
        for name, (url,) in found.items():
            filled = uvloop.run(backfill.measure(url, users))
            print(f"\n{name}")
            print(f"  users sent                {filled.users / filled.seconds:9.0f} /s")
            print(f"  users it has wrong        {filled.wrong:9.0f}       goal 0")
            print(
                f"  commit to arrival of {filled.changes} live changes"
                f" {filled.slowest_ms:9.0f} ms p99"
            )


def _ordering(events: int) -> None:
    print(f"{events} events of {ordering.USERS} users, drained by {ordering.WORKERS} workers on")
    print("PostgreSQL; to the end, so where requests fail, their growing pauses are in the time")
    for failing in (False, True):
        print(f"\n{'one request in five fails' if failing else 'every request succeeds'}")
        runs = {"none": ("none", False), "user": ("user", False), "killed": ("user", failing)}
        with databases(*runs) as found:
            plain = None
            for (name, (order, killing)), url in zip(
                runs.items(), found["PostgreSQL"], strict=True
            ):
                if name == "killed" and not failing:
                    continue
                with ordering.receiver(failing=failing) as receiver_url:
                    ended = uvloop.run(
                        ordering.drain(url, receiver_url, events, ordering=order, killing=killing)
                    )
                plain = plain or ended.per_second
                print(
                    f"  {name:8}{ended.per_second:8.0f} /s   ratio {ended.per_second / plain:5.2f}"
                    f"   lost {ended.lost}, out of order {ended.out_of_order}, kills {ended.kills}"
                )
    print("\ngoal: ratio 0.50, none lost, none out of order")


def _pruning(rows: int) -> None:
    print(f"Users upserted and delivered while {rows} old rows are pruned; goal: 0.80 of alone")
    with receiver() as url, databases("pruning") as found:
        for name, (database_url,) in found.items():
            result = asyncio.run(pruning.measure(database_url, url, rows))
            print(f"\n{name}")
            print(f"  alone                     {result.alone:9.0f} users/s")
            print(f"  beside pruning            {result.beside:9.0f} users/s")
            print(f"  ratio                     {result.beside / result.alone:9.2f}     goal 0.80")
            print(f"  pruned                    {result.rows_per_second:9.0f} rows/s")


def _exports(users: int) -> None:
    print(
        f"Files of {users} users with 3 tags and 5 custom fields, beside the database's own shell"
    )
    with databases("exports") as found:
        for name, (url,) in found.items():
            print(f"\n{name}", flush=True)
            result = asyncio.run(exports.measure(url, name, users))
            print("\n".join(exports.shown(result, name)), flush=True)


def _workers(events: int) -> None:
    print(f"A backlog of {events} deliveries drained by worker processes; goal: two beat one")
    with receiver() as url, databases("workers") as found:
        compared = asyncio.run(draining.one_and_two(found["PostgreSQL"][0], url, events))
        print("\nPostgreSQL")
        print(f"  one process               {compared.before:9.0f} /s")
        print(f"  two processes             {compared.after:9.0f} /s")
        print(f"  ratio                     {compared.ratio:9.2f}     goal above 1")


def _history(events: int, old: int) -> None:
    print(f"A backlog of {events} deliveries drained, alone and beside {old} old ones")
    with receiver() as url, databases("empty", "full") as found:
        for name, (empty, full) in found.items():
            compared = asyncio.run(draining.beside_old((empty, full), url, events=events, old=old))
            print(f"\n{name}")
            print(f"  without old deliveries    {compared.before:9.0f} /s")
            print(f"  beside them               {compared.after:9.0f} /s")
            print(f"  ratio                     {compared.ratio:9.2f}     goal 0.90")


def _profile(events: int) -> None:
    print(f"Processor time of each of {events} deliveries, recorded and delivered, in µs")
    with receiver() as url, databases("plain", "profiled") as found:
        for name, (plain_url, profiled_url) in found.items():
            print(f"\n{name}")
            for process, microseconds in profiling.processes(plain_url, url, events).items():
                print(f"  {process:40}{microseconds:7.1f}")
            print("  the sending process by parts, made slower by the profiler:")
            for part, microseconds in profiling.parts(profiled_url, url, events).items():
                print(f"    {part:38}{microseconds:7.1f}")


def _importing(users: int) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        databases("small", "whole", "plain") as found,
    ):
        for name, urls in found.items():
            small, whole, plain = asyncio.run(importing.measure(urls, Path(folder), users))
            cpu = whole.cpu_seconds / whole.users * 1e6
            print(f"\n{name}")
            print(f"  the same rows, plainly    {plain:9.0f} users/s")
            print(f"  imported with events      {whole.per_second:9.0f} users/s  goal 8000")
            print(f"  processor time            {cpu:9.0f} µs a user, of the importing process")
            print(f"  ratio                     {whole.per_second / plain:9.2f}")
            print(
                f"  memory at its most        {small.peak_mib:9.0f} MiB for {small.users} users,"
                f" {whole.peak_mib:.0f} MiB for {whole.users}   goal flat"
            )


def _print_throughput(bare: Throughput, ours: Throughput) -> None:
    print(f"  bare aiohttp loop         {bare.per_second:9.0f} /s  {bare.cpu_microseconds:6.0f} µs")
    print(f"  recorded and delivered    {ours.per_second:9.0f} /s  {ours.cpu_microseconds:6.0f} µs")
    print(f"  ratio                     {ours.per_second / bare.per_second:9.2f}     goal 0.60")
    print("    limited by one core's processor time in the sending process (the µs beside it)")


async def _print_serving(database_url: str, url: str, backlog: int) -> None:
    async with serving(database_url, url) as server:
        print(f"  memory, idle              {server.resident_mib():9.0f} MiB   goal 120")
        median, worst = await idle_latency(server, url, 200)
        print(f"  change to arrival, idle   {median:9.1f} ms p50, {worst:.1f} ms p99   goal 10, 50")
        print("    limited by two commits and a claim, one after the other")
        users = await users_per_second(server, 20_000)
        print(f"  users upserted, events    {users:9.0f} /s    goal 3000")
        print("    limited by validation and by the rows of users, events and deliveries")
        most, least = await memory_while_draining(server, backlog)
        print(f"  memory, draining {backlog:7}  {least:9.0f} to {most:.0f} MiB   goal flat, ±20 %")
        print("    bounded by what is claimed at once, 1,500 deliveries")


if __name__ == "__main__":
    main()

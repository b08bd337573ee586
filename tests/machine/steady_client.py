"""A client that connects every few milliseconds and tells of everything that is not the page.

    steady_client.py ADDRESS PORT INTERVAL-MS EXPECTED

Each connection asks for / and reads to the end; the body has to begin with EXPECTED. It goes on until stdin is closed, waits for what
is still open, and prints one line of JSON: how many connections there were, how many of them had to wait, the longest, and the errors.
"""

import asyncio
import json
import sys
import time

ADDRESS, PORT, INTERVAL, EXPECTED = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 1000, sys.argv[4].encode()
REQUEST = b"GET / HTTP/1.1\r\nHost: steady\r\nUser-Agent: steady\r\nConnection: close\r\n\r\n"
HELD = 0.2
PATIENCE = 60

counts = {"count": 0, "held": 0, "longest": 0.0}
errors = []


def wrong(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        return f"got {answer[:120]!r}"
    if not body.startswith(EXPECTED):
        return f"got the body {body[:120]!r}"
    return None


async def ask():
    begin = time.time()
    stage = "connecting"
    writer = None
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(ADDRESS, PORT), PATIENCE)
        stage = "asking"
        writer.write(REQUEST)
        problem = wrong(await asyncio.wait_for(reader.read(), PATIENCE))
    except (OSError, TimeoutError, asyncio.TimeoutError) as e:
        problem = f"{stage}: {type(e).__name__} {e}"
    finally:
        if writer:
            writer.close()
    taken = time.time() - begin
    counts["count"] += 1
    counts["held"] += taken > HELD
    counts["longest"] = max(counts["longest"], taken)
    if problem:
        errors.append(f"{begin:.3f} +{taken:.3f}: {problem}")


async def main():
    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(None, sys.stdin.read)
    under_way = set()
    due = loop.time()
    while not ended.done():
        task = asyncio.ensure_future(ask())
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        # Late is late: what a busy machine misses is not made up for in a burst.
        due = max(due + INTERVAL, loop.time())
        await asyncio.sleep(due - loop.time())
    await asyncio.gather(*under_way)
    print(json.dumps({**counts, "errors": errors}))


asyncio.run(main())

"""A supervisor whose children are small stand-ins; run as a script by the tests, so that it can be killed.

Its one argument is JSON: `folder`, `children` (name → Python code run with the folder as its argument), and
optionally `redis` (start one as the first child), `nohup`, `fast_s`, `tries`, `stop_s`.
"""

import json
import os
import signal
import sys
from pathlib import Path

from service.child import Child
from service.redis_server import RedisServer, find_redis_server
from service.state import StateFolder
from service.supervisor import Restarts, Supervisor


def main() -> int:
    told = json.loads(sys.argv[1])
    folder = Path(told["folder"])
    signal.signal(signal.SIGHUP, signal.SIG_IGN if told.get("nohup") else signal.SIG_DFL)

    def note_death(child: Child) -> None:
        with (folder / "deaths").open("a") as file:
            file.write(f"{child.name} {child.pid}\n")

    children = [
        Child(
            name,
            [sys.executable, "-c", code, str(folder)],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stop_s=told.get("stop_s", 10.0),
            ready=(folder / f"{name}.pid").exists,
        )
        for name, code in told["children"].items()
    ]
    with StateFolder(folder):
        server = None
        if told.get("redis"):
            binary = find_redis_server()
            assert binary is not None
            server = RedisServer(binary, folder / "redis")
            server.prepare()
            children.insert(0, server.child)
        code = Supervisor(
            children,
            write=lambda line: print(line, flush=True),
            on_ready=lambda: print("READY", flush=True),
            on_child_death=note_death,
            restarts=Restarts(fast_s=told.get("fast_s", 10.0), tries=told.get("tries", 5), first_s=0.05),
        ).run()
        if server is not None:
            server.clean_up()
        return code


if __name__ == "__main__":
    sys.exit(main())

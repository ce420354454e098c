"""`make stop`: stop the embedded servers. `make clean`: and remove what they keep outside the checkout."""

from __future__ import annotations

import shutil
import sys

from helios import terminal
from helios.env import Env
from helios.stack import children, idle, leases
from helios.stack.children import StackError
from helios.stack.endpoints import server_home, socket_dir
from helios.stack.environment import load_env
from helios.stack.servers import embedded_servers


def main() -> int:
    """Stop them; returns the exit status."""
    return children.run_or_explain(lambda: run(load_env(), remove="--remove" in sys.argv[1:]))


def run(env: Env, *, remove: bool = False) -> int:
    """Stop servers nobody uses; `remove`: and their outside folders. Raises: StackError while one is used, or runs."""
    if holders := leases.living(leases.folder_of(env.var_dir)):
        names = ", ".join(map(str, holders))
        raise StackError(f"Helios is running (process {names}): stop it first")
    idle.dismiss(env.var_dir)
    servers = embedded_servers(env)
    servers.stop()
    for each in servers.named().values():
        if each.data_dir.exists():
            with children.claim(each.data_dir):  # else one runs that cannot be seen from here
                pass
    for folder in {server_home(env.var_dir), socket_dir(env.var_dir)} if remove else ():
        if not folder.is_relative_to(env.var_dir):
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    terminal.run_and_exit(main)

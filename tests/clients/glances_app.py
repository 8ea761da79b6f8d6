"""Glances, a monitor with a web page, as it comes from PyPI, with the one user alice.
Usage: glances_app.py DIRECTORY, with SECRET set. Prints its port, then is Glances."""
import os
import pathlib
import socket
import sys

from glances.config import Config
from glances.password import GlancesPassword

place = pathlib.Path(sys.argv[1])
settings = place / "glances.conf"
settings.write_text(
    f"[outputs]\njwt_secret_key={os.environ['SECRET']}\n"
    f"[passwords]\nlocal_password_path={place}\n"
)
password = GlancesPassword(username="alice", config=Config(str(settings)))
password.save_password(password.hash_password(password.get_hash("correct horse")))
# Kept, so that nobody else takes the port before Glances does, who may have it too.
held = socket.socket()
held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
held.bind(("127.0.0.1", 0))
held.set_inheritable(True)
port = held.getsockname()[1]
print(port, flush=True)
arguments = ["-m", "glances", "-w", "-C", str(settings), "-u", "alice"]
arguments += ["--bind", "127.0.0.1", "--port", str(port), "--time", "5"]
arguments += ["--disable-check-update", "--disable-autodiscover"]
os.execv(sys.executable, [sys.executable, *arguments])

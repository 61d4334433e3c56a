"""A dask cluster of separate processes, on loopback or on simulated hosts, and an S3 service on loopback."""

from __future__ import annotations

import datetime
import io
import ipaddress
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import small_run

HERE = Path(__file__).parent
SECRET = "SECRET-THAT-MUST-NOT-APPEAR"


def certificate(folder: Path) -> Path:
    """A key and a certificate that signs itself, for loopback."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tpsoil test")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "both.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


class Cluster:
    """A scheduler and workers, each a process of its own, as on a real cluster.

    Parameters
    ----------
    folder : Path
    tls : bool
    preload : str
        Python code that the scheduler runs first.
    host : str
        Address of the scheduler.
    within : sequence of str
        Command that starts the scheduler on its host.
    **environment : str
        Variables of all processes.
    """

    def __init__(
        self, folder: Path, *, tls: bool = False, preload: str = "", host: str = "127.0.0.1",
        within: Sequence[str] = (), **environment: str,
    ) -> None:  # fmt: skip
        self.folder, self.environment = folder, {**os.environ, "PYTHONPATH": f"{HERE.parent}:{HERE}", **environment}
        self.tls: list[str] = []
        if tls:
            pem = str(certificate(folder))
            self.tls = ["--tls-ca-file", pem, "--tls-cert", pem, "--tls-key", pem]
        self.processes: list[subprocess.Popen[bytes]] = []
        port_file = folder / "scheduler.json"
        self._start(
            "dask_scheduler", "--protocol", "tls" if tls else "tcp", "--host", host, "--port", "0",
            "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(port_file), *self._preload(preload),
            within=within,
        )  # fmt: skip
        limit = time.monotonic() + 60
        while not port_file.exists() or not port_file.read_text().strip().endswith("}"):
            assert time.monotonic() < limit, (folder / "dask_scheduler.log").read_text()
            time.sleep(0.05)
        self.address: str = json.loads(port_file.read_text())["address"]

    def _preload(self, code: str) -> list[str]:
        """Arguments that run a module before a process begins its work."""
        if not code:
            return []
        path = self.folder / f"preload_{len(self.processes)}.py"
        path.write_text(code)
        return ["--preload", str(path)]

    def _start(self, module: str, *arguments: str, within: Sequence[str] = (), **more: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{module}.log").open("ab")
        process = subprocess.Popen(
            [*within, sys.executable, "-m", f"distributed.cli.{module}", *arguments, *self.tls],
            stdout=log, stderr=log, env={**self.environment, **more}, cwd=self.folder, start_new_session=True,
        )  # fmt: skip
        log.close()
        self.processes.append(process)
        return process

    def worker(
        self, *, threads: int = 1, nanny: bool = False, memory: str = "", preload: str = "",
        within: Sequence[str] = (), **more: str,
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        """One more worker process.

        Parameters
        ----------
        threads : int
        nanny : bool
            Restarted where it ends.
        memory : str
            Limit at which its nanny ends it.
        preload : str
            Python code that it runs before it connects.
        within : sequence of str
            Command that starts it, such as `unshare --mount`.
        **more : str
            Variables of its environment.
        """
        return self._start(
            "dask_worker", self.address, "--nworkers", "1", "--nthreads", str(threads), "--no-dashboard",
            "--nanny" if nanny else "--no-nanny", "--local-directory", str(self.folder / "scratch"),
            *(["--memory-limit", memory] if memory else []), *self._preload(preload), within=within, **more,
        )  # fmt: skip

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)

    @property
    def settings(self) -> dict[str, Any]:
        """dask's own settings that a client of this cluster needs."""
        # Loaded within `dask.config.set`, distributed's defaults would go with these settings at its end.
        import distributed  # noqa: F401

        if not self.tls:
            return {}
        pem = self.tls[1]
        settings: dict[str, Any] = {"distributed.comm.tls.ca-file": pem, "distributed.comm.require-encryption": True}
        return settings | {f"distributed.comm.tls.client.{part}": pem for part in ("key", "cert")}

    @property
    def settings_environment(self) -> dict[str, str]:
        """The same settings as variables for a process."""
        return {
            "DASK_" + name.upper().replace(".", "__").replace("-", "_"): str(value)
            for name, value in self.settings.items()
        }


def s3_service(slow_seconds: float = 0.0) -> Iterator[str]:
    """An S3 service; the endpoint.

    Parameters
    ----------
    slow_seconds : float
        Each write waits up to this long before it takes effect. Writes then take effect one after the other, as S3
        guarantees for one object: moto alone looks at the condition of a PUT and stores the object in two steps.
    """
    moto = pytest.importorskip("moto.server", reason="moto's server is in the [test] extra")
    pytest.importorskip("s3fs", reason="s3fs is in the [cloud] extra")
    if not slow_seconds:
        server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()
        return
    import werkzeug.serving

    application = moto.DomainDispatcherApplication(moto.create_backend_app)
    one_at_a_time, dice = threading.Lock(), random.Random(1)

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] not in {"PUT", "DELETE", "POST"}:
            return application(environ, start_response)
        # Read whole before it waits: a client frozen in the middle of a write must hold up nobody else.
        terminated = environ.get("wsgi.input_terminated", False)
        body = environ["wsgi.input"].read(-1 if terminated else int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        time.sleep(dice.random() * slow_seconds)
        with one_at_a_time:
            return application(environ, start_response)

    slow = werkzeug.serving.make_server("127.0.0.1", 0, answer, threaded=True)
    thread = threading.Thread(target=slow.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{slow.port}"
    slow.shutdown()
    thread.join(10)


def make_bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket's URL; keys and endpoint come from the environment, as the ecosystem's libraries read them."""
    import botocore.session
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()  # it remembers the endpoint of an earlier test
    botocore.session.Session().create_client("s3").create_bucket(Bucket="maps")
    return "s3://maps"


def objects_of(url: str, folder: Path) -> dict[str, str]:
    """The bucket's objects as a local store's files."""
    import s3fs

    target = folder / "fetched"
    shutil.rmtree(target, ignore_errors=True)
    s3fs.S3FileSystem(skip_instance_cache=True).get(url, str(target), recursive=True)
    return small_run.files_of(target)

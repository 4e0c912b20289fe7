"""The line that misbehaves on command does what it is told, and nothing else."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from app.harness.fault_proxy import FaultProxy


class EchoServer:
    """Sends back what it gets; counts bytes and connections."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.connections: list[socket.socket] = []
        self.num_bytes = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            connection.close()
        for thread in self._threads:
            thread.join(timeout=5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            self._threads.append(threading.Thread(target=self._echo, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _echo(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(65_536):
                self.num_bytes += len(data)
                connection.sendall(data)
        except OSError:
            return


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    server = EchoServer()
    yield server
    server.close()


@pytest.fixture
def line(echo: EchoServer) -> Iterator[FaultProxy]:
    proxy = FaultProxy(target_port=echo.port)
    yield proxy
    proxy.close()
    proxy.close()  # twice does no harm


def connect(line: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", line.port), timeout=10)


def round_trip_s(connection: socket.socket, data: bytes = b"ping") -> float:
    begin_s = time.monotonic()
    connection.sendall(data)
    received = b""
    while len(received) < len(data):
        received += connection.recv(65_536)
    assert received == data
    return time.monotonic() - begin_s


def is_broken(connection: socket.socket) -> bool:
    """Whether a connection has ended, with or without a word."""
    try:
        connection.sendall(b"x")
        return connection.recv(10) == b""
    except ConnectionError:
        return True


def test_a_good_line_carries_everything_in_order(line: FaultProxy) -> None:
    with connect(line) as connection:
        assert round_trip_s(connection, bytes(range(256)) * 2_000) < 5
        assert line.num_lines == 1


def test_latency_delays_every_chunk_and_keeps_their_order(line: FaultProxy) -> None:
    with connect(line) as connection:
        round_trip_s(connection)
        line.misbehave(latency_ms=120, jitter_ms=60)
        elapsed_s = round_trip_s(connection, bytes(range(256)) * 100)
        line.behave()
        again_s = round_trip_s(connection)

    assert elapsed_s >= 0.24  # there and back
    assert again_s < elapsed_s


def test_loss_is_a_stall_until_the_packet_is_sent_again(line: FaultProxy) -> None:
    line.misbehave(loss=1.0, retransmit_ms=150)
    with connect(line) as connection:
        assert round_trip_s(connection) >= 0.3


def test_a_cut_breaks_what_is_open_and_refuses_what_comes_until_it_is_mended(
    line: FaultProxy, echo: EchoServer
) -> None:
    with connect(line) as first:
        round_trip_s(first)
        line.cut()
        assert is_broken(first)
    with connect(line) as second:
        assert is_broken(second)
    assert line.num_lines == 0
    line.mend()
    with connect(line) as third:
        round_trip_s(third)
    assert len(echo.connections) == 2


def test_a_half_open_line_looks_open_and_carries_nothing_while_new_ones_work(
    line: FaultProxy, echo: EchoServer
) -> None:
    with connect(line) as silent:
        round_trip_s(silent)
        line.half_open()
        carried = echo.num_bytes
        silent.sendall(b"hello?")
        silent.settimeout(0.3)
        with pytest.raises(TimeoutError):
            silent.recv(10)
        with connect(line) as other:
            round_trip_s(other)
        assert echo.num_bytes == carried + len(b"ping")
        assert line.num_lines >= 1  # nobody has told the server that its client is gone


def test_a_slow_reader_holds_the_server_up_and_not_the_way_there(line: FaultProxy, echo: EchoServer) -> None:
    data = bytes(40_000)
    line.misbehave(down_bytes_per_s=20_000)
    with connect(line) as connection:
        assert round_trip_s(connection, data) > 1.0
        assert echo.num_bytes == len(data)


def test_nobody_behind_it_is_a_broken_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    proxy = FaultProxy(target_port=port)
    with connect(proxy) as connection:
        assert is_broken(connection)
    proxy.close()

"""Attempts to reach others: over networks, over sockets of this machine, over shared memory, through the runner's own port."""

import ctypes
import os
import socket
import urllib.error
import urllib.request
from pathlib import Path

from .calls import LIBC, checked

SECONDS = 2
# Which kinds of sockets there are beside those of the internet: <https://man7.org/linux/man-pages/man2/socket.2.html>.
AF_ALG, AF_VSOCK = 38, 40


def hosts_loopback(facts: dict) -> str:
    return _answer(socket.AF_INET, ("127.0.0.1", facts["port"]))


def hosts_loopback_of_version_6(facts: dict) -> str:
    return _answer(socket.AF_INET6, ("::1", facts["port"]))


def hosts_own_address(facts: dict) -> str:
    return _answer(socket.AF_INET, (facts["address"], facts["port"]))


def gateways_door(facts: dict) -> int:
    return _answered(urllib.request.Request(f"http://127.0.0.1:{facts['gateway']}/v1/models"))


def metadata_of_the_cloud(_: dict) -> str:
    return _answer(socket.AF_INET, ("169.254.169.254", 80))


def internet(_: dict) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(b"?", ("1.1.1.1", 53))
    return "sent"


def raw_socket(_: dict) -> str:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    return "made"


def packet_socket(_: dict) -> str:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3).close()
    return "made"


def socket_to_the_hypervisor(_: dict) -> str:
    """No network namespace holds it back: a virtual machine's host is always in reach."""
    socket.socket(AF_VSOCK, socket.SOCK_STREAM).close()
    return "made"


def socket_to_the_kernels_ciphers(_: dict) -> str:
    socket.socket(AF_ALG, socket.SOCK_SEQPACKET).close()
    return "made"


def netlink_beyond_routes(_: dict) -> str:
    netfilter = 12
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, netfilter).close()
    return "made"


def abstract_socket(facts: dict) -> str:
    return _answer(socket.AF_UNIX, "\0" + facts["abstract"])


def socket_in_a_folder(facts: dict) -> str:
    return _answer(socket.AF_UNIX, facts["socket"])


def shared_memory_of_another(facts: dict) -> str:
    segment = checked(LIBC.shmget(facts["shared_memory"], 0, 0))
    LIBC.shmat.restype = ctypes.c_void_p
    at = LIBC.shmat(segment, None, 0o10000)
    return _expect(ctypes.string_at(at, 64).rstrip(b"\0").decode(), facts)


def shared_file_of_another(facts: dict) -> str:
    return _expect(Path("/dev/shm", facts["shared_file"]).read_text(), facts)


def neighbours_port(facts: dict) -> str:
    return _answer(socket.AF_INET, ("127.0.0.1", facts["neighbour_port"]))


def runners_port_as_a_proxy(facts: dict) -> str:
    """Asks the one server that it can reach for everything that it cannot."""
    runner = os.environ["MODEL_UPLOAD_URL"].split("/")[2]
    host, _, port = runner.partition(":")
    inside = f"127.0.0.1:{facts['port']}"
    for request in (
        f"GET http://{inside}/ HTTP/1.1\r\nhost: {inside}\r\n\r\n",
        f"CONNECT {inside} HTTP/1.1\r\nhost: {inside}\r\n\r\n",
        f"GET /inputs/../{inside}/ HTTP/1.1\r\nhost: {inside}\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), SECONDS) as line:
            line.sendall(request.encode())
            answer = line.recv(4096).decode()
            if facts["secret"] in answer:
                return answer
    return ""


def output_of_another_prediction(facts: dict) -> int:
    url = os.environ["MODEL_UPLOAD_URL"] + "/forged.txt"
    request = urllib.request.Request(url, b"forged", {"x-prediction-id": facts["neighbour_prediction"]}, method="PUT")
    status = _answered(request)
    return status if status < 400 else 0


def _answered(request: urllib.request.Request) -> int:
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status
    except urllib.error.HTTPError as refusal:
        return refusal.code


def _answer(family: int, address: object) -> str:
    with socket.socket(family, socket.SOCK_STREAM) as line:
        line.settimeout(SECONDS)
        line.connect(address)
        return line.recv(64).decode() or "connected"


def _expect(text: str, facts: dict) -> str:
    return text if facts["secret"] in text else ""


ATTEMPTS = (
    hosts_loopback,
    hosts_loopback_of_version_6,
    hosts_own_address,
    gateways_door,
    metadata_of_the_cloud,
    internet,
    raw_socket,
    packet_socket,
    socket_to_the_hypervisor,
    socket_to_the_kernels_ciphers,
    netlink_beyond_routes,
    abstract_socket,
    socket_in_a_folder,
    shared_memory_of_another,
    shared_file_of_another,
    neighbours_port,
    runners_port_as_a_proxy,
    output_of_another_prediction,
)

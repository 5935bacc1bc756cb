#!/usr/bin/env python3
"""Connections that belong to no peer: strangers.py PORT COUNT PAUSE. From 127.0.1.1 on, an address each, they come to the SMTP port and stay for
as long as they are let: a quarter idle, a quarter with a HELO of one byte a second, a quarter in half a TLS handshake, a quarter in TLS without a
certificate. Whoever is sent away comes again after PAUSE seconds. Runs until SIGTERM; then prints how many connections were made and ended."""
import asyncio, os, resource, signal, ssl, sys

port, count, pause = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
made = greeted = turned_away = 0
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE  # a stranger does not care whom it talks to

async def to_tls(reader, writer):
    writer.write(b"EHLO stranger.invalid\r\n")
    while not (await reader.readline()).startswith(b"250 "):
        if reader.at_eof(): return False
    writer.write(b"STARTTLS\r\n")
    return (await reader.readline()).startswith(b"220")

async def stay(kind, reader, writer):
    if kind == 0:
        pass
    elif kind == 1:
        for byte in b"HELO " + b"x" * 1000:
            writer.write(bytes([byte]))
            await writer.drain()
            try:
                if await asyncio.wait_for(reader.read(1), 1) is not None: return
            except asyncio.TimeoutError:
                pass
    elif kind == 2:
        if await to_tls(reader, writer): writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    elif await to_tls(reader, writer):
        await writer.start_tls(context, server_hostname="gateway-b.test")
        writer.write(b"EHLO stranger.invalid\r\n")
    while await reader.read(4096): pass

async def stranger(n):
    global made, greeted, turned_away
    address = f"127.0.{1 + n // 250}.{1 + n % 250}"
    await asyncio.sleep(pause * n / count)  # not all in the same moment
    while True:
        writer = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            made += 1
            if (await reader.readline()).startswith(b"220"):
                greeted += 1
                await stay(n % 4, reader, writer)
            else:
                turned_away += 1
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        finally:
            if writer is not None: writer.transport.abort()
        await asyncio.sleep(pause)

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tasks = [asyncio.create_task(stranger(n)) for n in range(count)]
    await stop.wait()
    print(f"{made} connections of {len(tasks)} strangers, {greeted} greeted, {turned_away} turned away at once", flush=True)
    os._exit(0)  # the kernel closes what is open; a handshake that is under way need not end first

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * count)), hard))
asyncio.run(main())

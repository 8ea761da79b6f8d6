//! The backend: echoes WebSocket messages, takes bodies of any size, answers `/bytes/N` with N
//! bytes, and everything else with two. Prints its port; ends when it is told to.

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{frames, wire};

/// What is read or written at once.
const CHUNK: usize = 128 * 1024;

pub async fn serve() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener: TcpListener = socket.listen(4096).unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        // A peer that goes away is no fault.
        tokio::task::spawn_local(async { connection(stream).await.ok() });
    }
}

async fn connection(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        let Some(end) = wire::end_of_head(&buffer) else {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let head = String::from_utf8_lossy(&buffer.split_to(end)).into_owned();
        if head.to_ascii_lowercase().contains("\r\nupgrade: websocket") {
            return websocket(stream, buffer).await;
        }
        swallow(&mut stream, &mut buffer, &head).await?;
        let asked = head.split(' ').nth(1).and_then(|path| path.split_once("/bytes/"));
        let size = asked.map_or(2, |(_, size)| size.parse().unwrap_or(2));
        answer(&mut stream, size).await?;
    }
}

/// The body of a request, by its length or in chunks (looked at for their end only).
async fn swallow(stream: &mut TcpStream, buffer: &mut BytesMut, head: &str) -> std::io::Result<()> {
    let chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
    let mut left = wire::length(head);
    let mut space = Vec::new();
    loop {
        if chunked {
            // The last chunk ends what a client sends that waits for its answer.
            if buffer.ends_with(b"0\r\n\r\n") {
                buffer.clear();
                return Ok(());
            }
            let tail = buffer.len().saturating_sub(4);
            buffer.advance(tail);
            buffer.reserve(CHUNK);
            stream.read_buf(buffer).await?;
            continue;
        }
        let had = left.min(buffer.len());
        buffer.advance(had);
        left -= had;
        if left == 0 {
            return Ok(());
        }
        space.resize(CHUNK, 0);
        let read = stream.read(&mut space[..CHUNK.min(left)]).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        left -= read;
    }
}

async fn answer(stream: &mut TcpStream, size: usize) -> std::io::Result<()> {
    let mut first = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").into_bytes();
    let chunk = vec![b'x'; CHUNK.min(size)];
    first.extend_from_slice(&chunk);
    stream.write_all(&first).await?;
    let mut left = size - chunk.len();
    while left > 0 {
        let now = left.min(CHUNK);
        stream.write_all(&chunk[..now]).await?;
        left -= now;
    }
    Ok(())
}

async fn websocket(mut stream: TcpStream, mut buffer: BytesMut) -> std::io::Result<()> {
    let accepted = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    stream.write_all(accepted.as_bytes()).await?;
    let mut out = BytesMut::new();
    loop {
        while let Some(frame) = frames::take(&mut buffer) {
            frames::put(&mut out, frame.first, &frame.payload, false);
            if frame.first == frames::CLOSE {
                return stream.write_all(&out).await;
            }
        }
        if !out.is_empty() {
            stream.write_all(&out).await?;
            out.clear();
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

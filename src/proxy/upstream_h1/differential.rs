//! What a server sends, as we read it and as hyper's client does, by thousands of answers that are wrong
//! in a place or two: nothing is taken that hyper refuses, and what both take is the same.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

use super::reading::read;

const ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-a: b\r\n\r\nabcde",
    "HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nabcde",
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nabcde",
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\nconnection: close\r\n\r\n1\r\na\r\n0\r\nt: v\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\nuntil it closes",
    "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nab",
    "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 404 Gone\r\ncontent-length: 1\r\n\r\na",
    "HTTP/1.1 204 No Content\r\nx: y\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n",
    "HTTP/1.1 500 \r\ncontent-length: 0\r\nset-cookie: a\r\nset-cookie: b\r\n\r\n",
];
const PIECES: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    "\0",
    ":",
    ",",
    "0",
    "1",
    "a",
    ";",
    "chunked",
    "content-length: 1\r\n",
    "transfer-encoding: chunked\r\n",
    "HTTP/1.1 ",
    "0\r\n\r\n",
    "\u{7f}",
    "+",
    "-",
    "x: y\r\n",
];
const CASES: usize = 30_000;

type Answered = (StatusCode, HeaderMap, Vec<u8>, HeaderMap);

async fn hypers(text: &[u8], method: &Method) -> Result<Answered, hyper::Error> {
    let (client, mut server) = tokio::io::duplex(4096);
    let (mut sender, driver) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(client)).await?;
    let request = Request::builder().method(method).uri("/").body(Empty::<Bytes>::new()).unwrap();
    let answer = async {
        let answer = sender.send_request(request).await?;
        let (parts, body) = answer.into_parts();
        let whole = body.collect().await?;
        let trailers = whole.trailers().cloned().unwrap_or_default();
        let body = whole.to_bytes().to_vec();
        Ok((parts.status, parts.headers, body, trailers))
    };
    let serve = async {
        // Behind the request: what comes before it is nobody's answer.
        let mut asked = [0; 512];
        tokio::io::AsyncReadExt::read(&mut server, &mut asked).await.unwrap();
        server.write_all(text).await.ok();
        server.shutdown().await.ok();
        Ok::<(), Infallible>(())
    };
    let (read, _, _) = tokio::join!(answer, serve, driver);
    read
}

/// Enough to be different each time and the same in each run (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most.max(1) as u64).unwrap()
    }
}

fn mutated(dice: &mut Dice) -> Vec<u8> {
    let mut text = ANSWERS[dice.below(ANSWERS.len())].as_bytes().to_vec();
    for _ in 0..1 + dice.below(2) {
        let at = dice.below(text.len());
        let piece = PIECES[dice.below(PIECES.len())].as_bytes();
        let end = (at + dice.below(4)).min(text.len());
        match dice.below(4) {
            0 => drop(text.splice(at..at, piece.iter().copied())),
            1 => drop(text.splice(at..end, piece.iter().copied())),
            2 => drop(text.drain(at..end)),
            _ => text.truncate(at.max(1)),
        }
    }
    text
}

#[tokio::test]
async fn no_answer_is_taken_that_hyper_refuses_and_none_is_read_otherwise() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let (mut both, mut stricter) = (0, 0);
    let as_they_are = ANSWERS.iter().map(|text| text.as_bytes().to_vec());
    let cases: Vec<Vec<u8>> = as_they_are.chain((0..CASES).map(|_| mutated(&mut dice))).collect();
    for text in cases {
        let method = if dice.below(8) == 0 { Method::HEAD } else { Method::GET };
        let shown = String::from_utf8_lossy(&text).into_owned();
        let ours = read(&method, text.chunks(1 + dice.below(64)));
        let ours = ours.map(|said| (said.status, said.headers, said.body, said.trailers));
        match (ours, hypers(&text, &method).await) {
            (Ok(ours), Ok(hypers)) => {
                assert_eq!(ours, hypers, "{method} {shown:?}");
                both += 1;
            }
            (Ok(ours), Err(error)) => panic!("{method} {shown:?}: {ours:?}, hyper: {error}"),
            (Err(_), Ok(_)) => stricter += 1,
            (Err(_), Err(_)) => {}
        }
    }
    assert!(both > CASES / 5, "{both}");
    assert!(stricter < both / 20, "{stricter} of {both}");
}

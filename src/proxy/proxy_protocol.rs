//! The PROXY protocol, versions 1 and 2 (haproxy's `doc/proxy-protocol.txt`): a proxy in front says
//! first whose connection it passes on. Only listed peers may, and they must: who is believed once
//! could say anything, and who need not say it could be anybody.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::AsyncReadExt as _;

use super::io::Stream;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// A version 1 header with its CRLF (section 2.1).
const LINE_BYTES_MAX: usize = 107;
/// Signature, version and command, family, length (section 2.2).
const FIXED_BYTES: usize = 16;
/// Addresses and further fields, which are skipped. Proxies that send certificates in them use a few
/// kilobytes.
const REST_BYTES_MAX: usize = 8 * 1024;

/// Whose connection it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    Address(IpAddr),
    /// A client of the proxy that has no address: a unix socket.
    Nameless,
    /// The proxy's own: it looks whether we are well, or does not know.
    Peer,
}

/// What the bytes so far are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The beginning of a header.
    More,
    /// A header of so many bytes.
    Header(Source, usize),
    /// None, and nothing that follows makes it one.
    Malformed,
}

/// Reads a header off the stream; what came behind it is given back.
pub async fn read(stream: &mut Stream) -> io::Result<(Source, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(256);
    loop {
        match parse(&bytes) {
            Progress::Header(source, length) => return Ok((source, bytes.split_off(length))),
            Progress::Malformed => return Err(io::ErrorKind::InvalidData.into()),
            Progress::More => {}
        }
        // Each header is parsed to its end long before this is reached; it bounds the buffer.
        if bytes.len() > FIXED_BYTES + REST_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// See [`Progress`].
pub fn parse(bytes: &[u8]) -> Progress {
    if begins(bytes, SIGNATURE) {
        return version_2(bytes).unwrap_or(Progress::Malformed);
    }
    if begins(bytes, b"PROXY ") {
        return version_1(bytes).unwrap_or(Progress::Malformed);
    }
    Progress::Malformed
}

/// As far as there are bytes they are those of `start`.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, wanted)| byte == wanted)
}

/// `None`: malformed.
fn version_1(bytes: &[u8]) -> Option<Progress> {
    let Some(end) = bytes.windows(2).take(LINE_BYTES_MAX - 1).position(|two| two == b"\r\n") else {
        return (bytes.len() < LINE_BYTES_MAX).then_some(Progress::More);
    };
    let line = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let source = match words.next()? {
        "UNKNOWN" => Source::Peer,
        family @ ("TCP4" | "TCP6") => {
            let mut address = || words.next()?.parse::<IpAddr>().ok();
            let (source, destination) = (address()?, address()?);
            let mut port = || words.next().filter(|text| is_port(text));
            port()?;
            port()?;
            let fits = |address: IpAddr| address.is_ipv4() == (family == "TCP4");
            let whole = fits(source) && fits(destination) && words.next().is_none();
            whole.then_some(Source::Address(source.to_canonical()))?
        }
        _ => return None,
    };
    Some(Progress::Header(source, end + 2))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// `None`: malformed.
fn version_2(bytes: &[u8]) -> Option<Progress> {
    let Some(fixed) = bytes.get(..FIXED_BYTES) else { return Some(Progress::More) };
    let &[command, family, high, low] = fixed.get(SIGNATURE.len()..)? else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > REST_BYTES_MAX || command >> 4 != 2 {
        return None;
    }
    let Some(rest) = bytes.get(FIXED_BYTES..FIXED_BYTES + length) else {
        return Some(Progress::More);
    };
    let source = match (command & 0xf, family) {
        (0, _) | (1, 0x00) => Source::Peer,
        (1, 0x11) => {
            let address = <[u8; 4]>::try_from(rest.get(..12)?.get(..4)?).ok()?;
            Source::Address(Ipv4Addr::from(address).into())
        }
        (1, 0x21) => {
            let address = <[u8; 16]>::try_from(rest.get(..36)?.get(..16)?).ok()?;
            Source::Address(IpAddr::from(Ipv6Addr::from(address)).to_canonical())
        }
        (1, 0x31) => rest.get(..216).map(|_| Source::Nameless)?,
        // A datagram, or what nobody has defined.
        _ => return None,
    };
    Some(Progress::Header(source, FIXED_BYTES + length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn second(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    fn address(text: &str) -> Source {
        Source::Address(text.parse().unwrap())
    }

    #[test]
    fn headers_of_both_versions_say_whose_connection_it_is() {
        let six = Ipv6Addr::LOCALHOST.octets();
        let mapped = "::ffff:1.2.3.4".parse::<Ipv6Addr>().unwrap().octets();
        let tlv = [&[192, 0, 2, 7, 10, 0, 0, 1, 1, 187, 0, 80][..], &[4, 0, 3, 1, 2, 3]].concat();
        for (header, source) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 443 80\r\n".to_vec(), address("192.0.2.7")),
            (b"PROXY TCP6 2001:db8::7 ::1 443 80\r\n".to_vec(), address("2001:db8::7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Source::Peer),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), Source::Peer),
            (second(0x20, 0x00, b""), Source::Peer),
            (second(0x20, 0x11, &tlv), Source::Peer),
            (second(0x21, 0x00, b"anything"), Source::Peer),
            (second(0x21, 0x11, &tlv), address("192.0.2.7")),
            (second(0x21, 0x21, &[&six[..], &[0; 20]].concat()), address("::1")),
            (second(0x21, 0x21, &[&mapped[..], &[0; 20]].concat()), address("1.2.3.4")),
            (second(0x21, 0x31, &[0; 216]), Source::Nameless),
        ] {
            assert_eq!(parse(&header), Progress::Header(source, header.len()), "{header:?}");
            let behind = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&behind), Progress::Header(source, header.len()));
            for length in 0..header.len() {
                assert_eq!(parse(&header[..length]), Progress::More, "{length} of {header:?}");
            }
        }
    }

    #[test]
    fn what_is_worse_by_one_detail_is_no_header() {
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat();
        for bad in [
            b"GET / HTTP/1.1\r\n".to_vec(),
            b"proxy TCP4 192.0.2.7 10.0.0.1 443 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7  10.0.0.1 443 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 443 80 1\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 +443 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 443 65536\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 443 80\r\n".to_vec(),
            b"PROXY TCP6 192.0.2.7 10.0.0.1 443 80\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.7 10.0.0.1 443 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 443 80\n\r\n".to_vec(),
            long,
            second(0x11, 0x11, &[0; 12]),
            second(0x22, 0x11, &[0; 12]),
            second(0x21, 0x12, &[0; 12]),
            second(0x21, 0x11, &[0; 11]),
            second(0x21, 0x21, &[0; 35]),
            second(0x21, 0x31, &[0; 215]),
            second(0x21, 0x11, &[0; REST_BYTES_MAX + 1]),
        ] {
            assert_eq!(parse(&bad), Progress::Malformed, "{}", String::from_utf8_lossy(&bad));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_have_an_answer_and_more_of_them_do_not_change_it(
            start in prop::sample::select(vec![&b""[..], SIGNATURE, b"PROXY ", b"PROXY TCP4 1.2.3.4 "]),
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let all = [start, &bytes].concat();
            let mut decided = None;
            for length in 0..=all.len() {
                let now = parse(&all[..length]);
                match (decided, now) {
                    (None, Progress::More) => {}
                    (None, now) => decided = Some(now),
                    (Some(before), now) => prop_assert_eq!(before, now),
                }
                if let Progress::Header(_, taken) = now {
                    prop_assert!(taken <= length && taken <= FIXED_BYTES + REST_BYTES_MAX);
                }
            }
        }

        #[test]
        fn every_address_comes_back(address in any::<[u8; 4]>(), port in any::<u16>()) {
            let source = Ipv4Addr::from(address);
            let line = format!("PROXY TCP4 {source} 10.0.0.1 {port} 80\r\n");
            let expected = Source::Address(source.into());
            prop_assert_eq!(parse(line.as_bytes()), Progress::Header(expected, line.len()));
            let rest = [&address[..], &[0; 8]].concat();
            prop_assert_eq!(parse(&second(0x21, 0x11, &rest)), Progress::Header(expected, 28));
        }
    }
}

//! The little of a certificate (RFC 5280) that people and SNI need: for which names, and from when
//! to when. The signatures are not looked at: that is the business of those who connect. Definite,
//! minimal lengths only; whatever cannot be read is no certificate.

use std::net::IpAddr;

use crate::clock::UnixMs;

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// dNSName and iPAddress of a GeneralName.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// id-ce-subjectAltName, 2.5.29.17.
const OID_SAN: &[u8] = &[0x55, 0x1d, 0x11];

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Names of the subject, lower case; `*.` in front of a wildcard.
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    pub not_before: UnixMs,
    pub not_after: UnixMs,
}

/// `None`: this is no certificate.
pub fn facts(der: &[u8]) -> Option<Facts> {
    let mut outer = Reader(der);
    let mut certificate = Reader(outer.expect(SEQUENCE)?);
    let mut signed = Reader(certificate.expect(SEQUENCE)?);
    if signed.0.first() == Some(&VERSION) {
        signed.next()?;
    }
    signed.expect(INTEGER)?;
    signed.expect(SEQUENCE)?;
    signed.expect(SEQUENCE)?;
    let mut validity = Reader(signed.expect(SEQUENCE)?);
    let (not_before, not_after) = (validity.time()?, validity.time()?);
    let mut facts = Facts { not_before, not_after, ..Facts::default() };
    while let Some((tag, content)) = signed.next() {
        if tag == EXTENSIONS {
            let mut extensions = Reader(Reader(content).expect(SEQUENCE)?);
            while let Some((SEQUENCE, extension)) = extensions.next() {
                facts.extension(&mut Reader(extension))?;
            }
        }
    }
    Some(facts)
}

impl Facts {
    fn extension(&mut self, extension: &mut Reader<'_>) -> Option<()> {
        if extension.expect(OBJECT_ID)? != OID_SAN {
            return Some(());
        }
        // Between them may stand whether it is critical.
        let mut value = extension.next()?;
        if value.0 != OCTET_STRING {
            value = extension.next()?;
        }
        let mut names = Reader(Reader(value.1).expect(SEQUENCE)?);
        while let Some((tag, name)) = names.next() {
            match tag {
                DNS_NAME => self.names.push(std::str::from_utf8(name).ok()?.to_ascii_lowercase()),
                IP_ADDRESS => {
                    let four = <[u8; 4]>::try_from(name).map(IpAddr::from);
                    let sixteen = <[u8; 16]>::try_from(name).map(IpAddr::from);
                    self.addresses.push(four.or(sixteen).ok()?);
                }
                _ => {}
            }
        }
        Some(())
    }
}

/// Values in a row.
struct Reader<'d>(&'d [u8]);

impl<'d> Reader<'d> {
    /// The tag and the content of the next value.
    fn next(&mut self) -> Option<(u8, &'d [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            short @ 0..=0x7f => (usize::from(short), rest),
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, tag: u8) -> Option<&'d [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    /// Section 4.1.2.5: `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` after that.
    fn time(&mut self) -> Option<UnixMs> {
        let (tag, content) = self.next()?;
        let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = text.split_at_checked(2)?;
                let year: i16 = year.parse().ok()?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = text.split_at_checked(4)?;
                (year.parse().ok()?, rest)
            }
            _ => return None,
        };
        let part = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
        let moment =
            jiff::civil::DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0);
        let moment = moment.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        (rest.len() == 10).then(|| UnixMs::from_secs(moment.timestamp().as_second()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_times_are_read_and_nothing_else_is_a_certificate() {
        let key = rcgen::KeyPair::generate().unwrap();
        let names =
            ["A.example".to_owned(), "*.b.example".into(), "127.0.0.1".into(), "::1".into()];
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2024, 2, 29);
        params.not_after = rcgen::date_time_ymd(2061, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        let read = facts(certificate.der()).unwrap();
        assert_eq!(read.names, ["a.example", "*.b.example"]);
        assert_eq!(
            read.addresses,
            ["127.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]
        );
        assert_eq!(read.not_before.rfc3339(), "2024-02-29T00:00:00Z");
        assert_eq!(read.not_after.rfc3339(), "2061-01-01T00:00:00Z");
        for length in 0..certificate.der().len() {
            assert_eq!(facts(&certificate.der()[..length]), None, "{length}");
        }
        assert_eq!(facts(key.public_key_raw()), None);
    }
}

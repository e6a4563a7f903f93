//! One answer of the origin: built good, bent by faults, then written to the socket step by step.

use crate::fault::Fault;
use crate::gate::Gate;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// How the end of the body is told.
#[derive(Clone, Copy)]
enum Framing {
    Length(Option<u64>),
    Chunked,
    UntilClose,
}

/// What happens once so many body bytes are sent.
#[derive(Clone)]
enum Stop {
    Hold(Gate),
    Truncate,
    Reset,
}

/// How the connection goes on after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum After {
    KeepAlive,
    Close,
    Reset,
}

pub(super) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Arc<[u8]>,
    framing: Framing,
    before: Vec<Before>,
    drip: Option<(usize, Duration)>,
    stops: Vec<(usize, Stop)>,
}

enum Before {
    Delay(Duration),
    Gate(Gate),
}

impl Answer {
    pub(super) fn new(status: u16, content_type: &str, body: Arc<[u8]>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".to_owned(), content_type.to_owned())],
            body,
            framing: Framing::Length(None),
            before: Vec::new(),
            drip: None,
            stops: Vec::new(),
        }
    }

    pub(super) fn ok(content_type: &str, body: Arc<[u8]>) -> Self {
        Self::new(200, content_type, body)
    }

    pub(super) fn text(status: u16, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", Arc::from(text.as_bytes()))
    }

    /// The part of a 200 that a single `bytes=a-b` or `bytes=a-` asks for.
    pub(super) fn ranged(mut self, range: &str) -> Self {
        let size = self.body.len();
        let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
            return self;
        };
        let (Ok(first), last) = (first.parse::<usize>(), last.parse::<usize>().unwrap_or(usize::MAX)) else {
            return self;
        };
        if self.status != 200 {
            return self;
        }
        if first >= size {
            let mut answer = Self::text(416, "no such range\n");
            answer.set("Content-Range", format!("bytes */{size}"));
            return answer;
        }
        let last = last.min(size - 1);
        self.status = 206;
        self.set("Content-Range", format!("bytes {first}-{last}/{size}"));
        self.body = Arc::from(&self.body[first..=last]);
        self
    }

    fn set(&mut self, name: &str, value: String) {
        self.headers.retain(|(have, _)| !have.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value));
    }

    /// Applies a script. `own_url` is where a redirect loop leads.
    pub(super) fn bend(mut self, faults: &[Fault], own_url: &str) -> Self {
        for fault in faults {
            match fault {
                Fault::Status(status) => self.replace(Self::text(*status, "origin trouble\n"), *status),
                Fault::Answer(status, headers, body) => {
                    self.replace(
                        Self::new(*status, "text/plain; charset=utf-8", Arc::from(body.as_slice())),
                        *status,
                    );
                    for (name, value) in headers {
                        self.set(name, value.clone());
                    }
                }
                Fault::Header(name, value) => self.set(name, value.clone()),
                Fault::Html => {
                    let page = "<!DOCTYPE html><html><body>Please log in</body></html>\n";
                    self.replace(Self::new(200, "text/html", Arc::from(page.as_bytes())), 200);
                }
                Fault::Redirect(url) => self.redirect(url),
                Fault::RedirectLoop => self.redirect(own_url),
                Fault::Delay(time) => self.before.push(Before::Delay(*time)),
                Fault::HoldHead(gate) => self.before.push(Before::Gate(gate.clone())),
                Fault::Drip { bytes, every } => self.drip = Some((*bytes, *every)),
                Fault::Hold { after, gate } => self.stops.push((*after, Stop::Hold(gate.clone()))),
                Fault::Truncate(after) => self.stops.push((*after, Stop::Truncate)),
                Fault::Reset(after) => self.stops.push((*after, Stop::Reset)),
                Fault::ContentLength(length) => self.framing = Framing::Length(Some(*length)),
                Fault::Chunked => self.framing = Framing::Chunked,
                Fault::UntilClose => self.framing = Framing::UntilClose,
                Fault::FlipBit(offset) => self.flip(*offset),
                Fault::Body(body) => self.body = Arc::from(body.as_slice()),
                Fault::NoRange => {}
            }
        }
        self.stops.sort_by_key(|(at, _)| *at);
        self
    }

    fn replace(&mut self, other: Self, status: u16) {
        self.status = status;
        self.headers = other.headers;
        self.body = other.body;
    }

    fn redirect(&mut self, url: &str) {
        self.replace(Self::text(302, "elsewhere\n"), 302);
        self.set("Location", url.to_owned());
    }

    fn flip(&mut self, offset: i64) {
        let mut bytes = self.body.to_vec();
        let at = if offset < 0 { bytes.len().cast_signed() as i64 + offset } else { offset };
        if let Some(byte) = usize::try_from(at).ok().and_then(|at| bytes.get_mut(at)) {
            *byte ^= 0x10;
        }
        self.body = Arc::from(bytes);
    }

    /// Writes the whole answer, or as much as the script lets through.
    pub(super) fn write(&self, out: &mut impl Write, head_only: bool) -> std::io::Result<After> {
        for wait in &self.before {
            match wait {
                Before::Delay(time) => std::thread::sleep(*time),
                Before::Gate(gate) => gate.pass(),
            }
        }
        let mut head = format!("HTTP/1.1 {} Status\r\n", self.status);
        for (name, value) in &self.headers {
            head = head + name + ": " + value + "\r\n";
        }
        match self.framing {
            Framing::Length(length) => {
                let length = length.unwrap_or(self.body.len() as u64);
                head = head + "Content-Length: " + &length.to_string() + "\r\n";
            }
            Framing::Chunked => head += "Transfer-Encoding: chunked\r\n",
            Framing::UntilClose => head += "Connection: close\r\n",
        }
        out.write_all(format!("{head}\r\n").as_bytes())?;
        out.flush()?;
        if head_only {
            return Ok(After::KeepAlive);
        }
        self.write_body(out)
    }

    fn write_body(&self, out: &mut impl Write) -> std::io::Result<After> {
        let mut sent = 0;
        for (at, stop) in &self.stops {
            let at = (*at).min(self.body.len());
            self.write_part(out, sent, at)?;
            sent = at.max(sent);
            match stop {
                Stop::Hold(gate) => gate.pass(),
                Stop::Truncate => return Ok(After::Close),
                Stop::Reset => return Ok(After::Reset),
            }
        }
        self.write_part(out, sent, self.body.len())?;
        match self.framing {
            Framing::Length(None) => return Ok(After::KeepAlive),
            Framing::Length(Some(_)) | Framing::UntilClose => return Ok(After::Close),
            Framing::Chunked => out.write_all(b"0\r\n\r\n")?,
        }
        out.flush()?;
        Ok(After::KeepAlive)
    }

    fn write_part(&self, out: &mut impl Write, from: usize, to: usize) -> std::io::Result<()> {
        let Some(part) = self.body.get(from..to) else { return Ok(()) };
        let piece = self.drip.map_or(256 * 1024, |(bytes, _)| bytes);
        for bytes in part.chunks(piece.max(1)) {
            if matches!(self.framing, Framing::Chunked) {
                out.write_all(format!("{:x}\r\n", bytes.len()).as_bytes())?;
                out.write_all(bytes)?;
                out.write_all(b"\r\n")?;
            } else {
                out.write_all(bytes)?;
            }
            out.flush()?;
            if let Some((_, every)) = self.drip {
                std::thread::sleep(every);
            }
        }
        Ok(())
    }
}

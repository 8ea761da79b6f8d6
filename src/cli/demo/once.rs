//! `demo --once`: the steps, done by itself as a client from outside and as a second terminal
//! would, each held to what it must come to. The transcript is the output.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

use crate::app::Gateway;
use crate::cli::arguments::Global;
use crate::cli::console::Console;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::http::{Address, ExchangeError, exchange};
use crate::keys::random_id;

use super::Called;
use super::client::Socket;
use super::stage::Stage;
use super::steps::{Act, Cli, Curl, Jar, steps};

/// Runs it in `directory`, or in one of its own that is removed afterwards.
pub fn run(directory: Option<&Path>, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let Some(directory) = directory else {
        let temporary = Temporary::new()?;
        let place = temporary.0.join(super::DIRECTORY);
        let stage = Stage::set(&place, Path::new(super::DIRECTORY), (0, 0))?;
        // Commands run beside the directory, so that what is shown is what is run.
        return play(&stage, &temporary.0, global, console);
    };
    let stage = Stage::set(directory, directory, (0, 0))?;
    if stage.kept {
        return Err(Failure::Refused(format!(
            "{} is a demo that was used before: --once needs a fresh directory",
            directory.display()
        )));
    }
    play(&stage, Path::new("."), global, console)
}

fn play(stage: &Stage, from: &Path, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let mut play = Play::new(stage, from, global, console)?;
    let outcome = play.act_all();
    if let Some(gateway) = play.gateway.take() {
        gateway.drain();
    }
    outcome?;
    play.verdict()
}

/// A directory that goes when this does.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Result<Self, Failure> {
        let id = random_id().map_err(|error| Failure::Refused(error.to_string()))?;
        let path = std::env::temp_dir().join(format!("portcullis-{id}"));
        crate::cli::files::private_directory(&path)
            .map_err(|cause| Failure::Write { what: path.display().to_string(), cause })?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Play<'p> {
    stage: &'p Stage,
    /// The working directory of the second terminal.
    from: &'p Path,
    console: &'p Console,
    called: Called,
    runtime: tokio::runtime::Runtime,
    gateway: Option<Gateway>,
    cookies: HashMap<String, String>,
    socket: Option<Socket>,
    done: usize,
    wrong: Vec<String>,
}

impl<'p> Play<'p> {
    fn new(
        stage: &'p Stage,
        from: &'p Path,
        global: &Global,
        console: &'p Console,
    ) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|cause| Failure::Read { what: "the clock and sockets".to_owned(), cause })?;
        Ok(Self {
            stage,
            from,
            console,
            called: Called::new(stage, global),
            runtime,
            gateway: Some(stage.start(Box::new(std::io::sink()))?),
            cookies: HashMap::new(),
            socket: None,
            done: 0,
            wrong: Vec::new(),
        })
    }

    fn act_all(&mut self) -> Result<(), Failure> {
        for (number, step) in steps(self.stage).iter().enumerate() {
            let title = format!("# {}  {}", number + 1, step.title);
            self.console.say(&format!("{}\n\n", self.console.look.paint.bold(&title)))?;
            for act in &step.acts {
                self.act(act)?;
            }
        }
        Ok(())
    }

    fn act(&mut self, act: &Act) -> Result<(), Failure> {
        let shown = act.shown(self.stage, &self.called);
        self.console.say(&format!("$ {shown}\n"))?;
        let (text, came, wanted) = match act {
            Act::Curl(curl, wanted) => {
                let response = self.curl(curl)?;
                let came = response.status().as_u16();
                (transcript(curl, &response), format!("status {came}"), format!("status {wanted}"))
            }
            Act::Cli(cli, wanted) => {
                let (text, came) = self.cli(cli)?;
                (text, format!("exit code {came}"), format!("exit code {wanted}"))
            }
            Act::Connect(user) => (self.connect(user)?, String::new(), String::new()),
            Act::Cut(wanted) => {
                let (code, reason) = self.cut()?;
                (
                    format!("closed: {code} {reason}\n"),
                    format!("close code {code}"),
                    format!("close code {wanted}"),
                )
            }
            Act::Restart => {
                if let Some(gateway) = self.gateway.take() {
                    gateway.drain();
                }
                self.gateway = Some(self.stage.start(Box::new(std::io::sink()))?);
                (
                    "The gateway was stopped and started again.\n".to_owned(),
                    String::new(),
                    String::new(),
                )
            }
        };
        self.console.say(&format!("{}\n\n", text.trim_end()))?;
        self.done += 1;
        if came != wanted {
            let note = format!("expected {wanted}, got {came}: {shown}");
            self.console.say(&format!("{}\n\n", self.console.look.paint.red(&note)))?;
            self.wrong.push(note);
        }
        Ok(())
    }

    fn verdict(&self) -> Result<Exit, Failure> {
        if self.wrong.is_empty() {
            let all = format!("All {} commands came to what they should.\n", self.done);
            self.console.say(&self.console.look.paint.green(&all))?;
            return Ok(Exit::Done);
        }
        let (wrong, done) = (self.wrong.len(), self.done);
        Err(Failure::Refused(format!("{wrong} of {done} commands came to something else")))
    }

    fn curl(&mut self, curl: &Curl) -> Result<Response<Bytes>, Failure> {
        let address = Address::Tcp(format!("127.0.0.1:{}", self.stage.gateway_port));
        let mut request = Request::builder()
            .method(curl.method)
            .uri(curl.path)
            .header(http::header::HOST, address.authority())
            .header(http::header::ACCEPT, "*/*");
        if let Some(name) = curl.header_file {
            let path = self.stage.directory().join(name);
            let text = fs::read_to_string(&path)
                .map_err(|cause| Failure::Read { what: path.display().to_string(), cause })?;
            if let Some((name, value)) = text.trim().split_once(": ") {
                request = request.header(name, value);
            }
        }
        if curl.jar == Some(Jar::Send) {
            let pairs: Vec<String> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(http::header::COOKIE, pairs.join("; "));
        }
        let request = request
            .body(Full::new(Bytes::new()))
            .map_err(|error| Failure::Refused(error.to_string()))?;
        let response = self.runtime.block_on(exchange(&address, request)).map_err(|error| {
            let (ExchangeError::Connect(detail) | ExchangeError::Broken(detail)) = error;
            Failure::Answer { from: address.to_string(), detail }
        })?;
        if curl.jar == Some(Jar::Fill) {
            self.cookies.extend(set_cookies(&response));
        }
        Ok(response)
    }

    /// Opens a WebSocket with the user's token and sees it echo.
    fn connect(&mut self, user: &str) -> Result<String, Failure> {
        let authority = format!("127.0.0.1:{}", self.stage.gateway_port);
        let failed = |detail: String| Failure::Answer { from: authority.clone(), detail };
        let path = self.stage.directory().join(user);
        let header = fs::read_to_string(&path)
            .map_err(|cause| Failure::Read { what: path.display().to_string(), cause })?;
        let header = format!("{}\r\n", header.trim());
        let opened = self.runtime.block_on(async {
            let mut opened = Socket::open(&authority, "/ws", &header).await?;
            if let Ok(socket) = &mut opened {
                socket.echo("still there?").await?;
            }
            Ok(opened)
        });
        match opened.map_err(|error: std::io::Error| failed(error.to_string()))? {
            Ok(socket) => self.socket = Some(socket),
            Err(status) => return Err(failed(format!("no WebSocket: status {status}"))),
        }
        Ok(format!("A WebSocket of {user} is open, and echoes.\n"))
    }

    fn cut(&mut self) -> Result<(u16, String), Failure> {
        let failed = |detail: String| Failure::Answer { from: "the WebSocket".to_owned(), detail };
        let Some(mut socket) = self.socket.take() else {
            return Err(failed("none is open".to_owned()));
        };
        self.runtime.block_on(socket.closed()).map_err(|error| failed(error.to_string()))
    }

    /// As a second terminal would: a process of its own.
    fn cli(&mut self, cli: &Cli) -> Result<(String, u8), Failure> {
        let failed = |cause| Failure::Read { what: "this program's own file".to_owned(), cause };
        let program = std::env::current_exe().map_err(failed)?;
        let stdin = match cli.stdin {
            Some(name) => {
                let path = self.stage.directory().join(name);
                let file = fs::File::open(&path)
                    .map_err(|cause| Failure::Read { what: path.display().to_string(), cause })?;
                Stdio::from(file)
            }
            None => Stdio::null(),
        };
        let output = Command::new(program)
            .arg("-c")
            .arg(self.stage.shown())
            .args(&cli.words)
            .current_dir(self.from)
            .env_remove("PORTCULLIS_ADMIN")
            .env_remove("PORTCULLIS_CONFIG")
            .env_remove("PORTCULLIS_ADMIN_TOKEN")
            .stdin(stdin)
            .output()
            .map_err(failed)?;
        let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stdout));
        let code = output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255);
        Ok((text, code))
    }
}

fn set_cookies(response: &Response<Bytes>) -> HashMap<String, String> {
    let lines = response.headers().get_all(http::header::SET_COOKIE).iter();
    let pairs = lines.filter_map(|line| line.to_str().ok()?.split(';').next()?.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What curl would print.
fn transcript(curl: &Curl, response: &Response<Bytes>) -> String {
    let mut text = String::new();
    if curl.head {
        let status = response.status();
        let reason = status.canonical_reason().unwrap_or_default();
        let _ = writeln!(text, "HTTP/1.1 {} {reason}", status.as_u16());
        for (name, value) in response.headers() {
            let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
        text.push('\n');
    }
    text.push_str(&String::from_utf8_lossy(response.body()));
    text
}

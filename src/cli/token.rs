//! `token`: looks into a token without believing it, and makes tokens for tests. The gateway
//! signs nothing with these keys.

mod decode;
mod mint;

use super::arguments::TokenCommand;
use super::console::Console;
use super::exit::Exit;
use super::failure::Failure;

pub fn run(command: &TokenCommand, console: &Console) -> Result<Exit, Failure> {
    match command {
        TokenCommand::Decode(from) => decode::run(from, console),
        TokenCommand::Mint(mint) => mint::run(mint, console),
        TokenCommand::Key(key) => mint::key(key, console),
    }
}

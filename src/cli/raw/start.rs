//! Arguments of `run`.

use clap::Args;

/// Instead of a config file: one upstream, one issuer.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Instead of a config file")]
pub struct RawRun {
    /// Take the place of the gateway that runs with this store, without a refused request
    #[arg(long, help_heading = "Options")]
    pub replace: bool,
    /// The backend: http://HOST:PORT; several are balanced
    #[arg(long, value_name = "URL")]
    pub upstream: Vec<String>,
    /// The `iss` of the tokens
    #[arg(long, value_name = "URL", requires = "upstream")]
    pub issuer: Option<String>,
    /// The `aud` of the tokens
    #[arg(long = "audience", value_name = "NAME", requires = "upstream")]
    pub audiences: Vec<String>,
    /// Keys: a JWK set
    #[arg(long, value_name = "FILE", requires = "upstream", group = "keys")]
    pub jwks_file: Option<String>,
    /// Keys: PEM public keys or certificates
    #[arg(long, value_name = "FILE", requires = "upstream", group = "keys")]
    pub pem_file: Option<String>,
    /// Key: a shared secret in this environment variable
    #[arg(long, value_name = "NAME", requires = "upstream", group = "keys")]
    pub secret_env: Option<String>,
    /// Key: a shared secret in this file
    #[arg(long, value_name = "FILE", requires = "upstream", group = "keys")]
    pub secret_file: Option<String>,
    /// A cookie that may carry the token, besides the bearer header
    #[arg(long, value_name = "NAME", requires = "upstream")]
    pub cookie: Option<String>,
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", requires = "upstream")]
    pub listen: Vec<String>,
    /// Where the admin API listens [default: 127.0.0.1:9900 and unix:data/admin.sock]
    #[arg(long, value_name = "ADDR", requires = "upstream")]
    pub admin_listen: Vec<String>,
    /// Where revocations are kept [default: data]
    #[arg(long, value_name = "DIR", requires = "upstream")]
    pub store: Option<String>,
}

//! Hosts and paths as routes name them.

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HostPattern {
    /// Lower case, without port.
    Exact(String),
    /// `*.example.com`: exactly one or more labels before `.example.com`; holds `.example.com`.
    Suffix(String),
    Any,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PathPattern {
    Exact(String),
    /// By whole segments: `/api/` and `/api` match `/api` and everything below `/api/`.
    Prefix(String),
}

impl HostPattern {
    /// As it is written in the file.
    pub fn shown(&self) -> String {
        match self {
            Self::Exact(host) => host.clone(),
            Self::Suffix(suffix) => format!("*{suffix}"),
            Self::Any => "*".to_owned(),
        }
    }
}

impl PathPattern {
    /// The path; an exact one begins with `=`.
    pub fn shown(&self) -> String {
        match self {
            Self::Exact(path) => format!("={path}"),
            Self::Prefix(path) => path.clone(),
        }
    }

    /// `/api` for `/api/`: patterns that match the same paths are equal.
    pub fn normal(&self) -> Self {
        match self {
            Self::Exact(path) => Self::Exact(path.clone()),
            Self::Prefix(path) => Self::Prefix(path.trim_end_matches('/').to_owned()),
        }
    }
}

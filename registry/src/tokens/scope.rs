//! What a token may be used for.

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    PredictionsRead,
    PredictionsWrite,
    ModelsRead,
    ModelsWrite,
    DeploymentsRead,
    DeploymentsWrite,
    AccountRead,
    AccountWrite,
    /// What only operators do; without an operator's account it opens nothing.
    Operator,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is not a scope: use all, or some of {}", known_names())]
pub struct UnknownScope {
    pub name: String,
}

const EVERY: [Scope; 9] = [
    Scope::PredictionsRead,
    Scope::PredictionsWrite,
    Scope::ModelsRead,
    Scope::ModelsWrite,
    Scope::DeploymentsRead,
    Scope::DeploymentsWrite,
    Scope::AccountRead,
    Scope::AccountWrite,
    Scope::Operator,
];

impl Scope {
    pub const fn name(self) -> &'static str {
        match self {
            Self::PredictionsRead => "predictions:read",
            Self::PredictionsWrite => "predictions:write",
            Self::ModelsRead => "models:read",
            Self::ModelsWrite => "models:write",
            Self::DeploymentsRead => "deployments:read",
            Self::DeploymentsWrite => "deployments:write",
            Self::AccountRead => "account:read",
            Self::AccountWrite => "account:write",
            Self::Operator => "operator",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(name: &str) -> Result<Self, UnknownScope> {
        EVERY.into_iter().find(|scope| scope.name() == name).ok_or_else(|| UnknownScope { name: name.to_owned() })
    }
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Scopes(u16);

impl Scopes {
    pub const ALL: Self = Self(0b1_1111_1111);

    pub fn of(scopes: &[Scope]) -> Self {
        Self(scopes.iter().fold(0, |bits, scope| bits | scope.bit()))
    }

    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    pub fn names(self) -> Vec<&'static str> {
        EVERY.into_iter().filter(|scope| self.contains(*scope)).map(Scope::name).collect()
    }

    /// Reads names of scopes; `all` stands for every one.
    pub fn parse<N: AsRef<str>>(names: &[N]) -> Result<Self, UnknownScope> {
        names.iter().try_fold(Self(0), |scopes, name| match name.as_ref() {
            "all" => Ok(Self::ALL),
            name => name.parse().map(|scope: Scope| Self(scopes.0 | scope.bit())),
        })
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

fn known_names() -> String {
    EVERY.map(Scope::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_scopes_reads_back_from_its_names() {
        let scopes = Scopes::of(&[Scope::ModelsRead, Scope::PredictionsWrite]);
        assert_eq!(Scopes::parse(&scopes.names()), Ok(scopes));
        assert!(scopes.contains(Scope::ModelsRead) && !scopes.contains(Scope::Operator));
        assert_eq!(Scopes::parse(&["all"]), Ok(Scopes::ALL));
        assert_eq!(Scopes::parse(&Scopes::ALL.names()), Ok(Scopes::ALL));
        assert_eq!(Scopes::parse(&["models:eat"]), Err(UnknownScope { name: "models:eat".to_owned() }));
    }
}

//! Who asks for something, as policy sees it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::ids::as_text;
use crate::text::{Name, TextError};

/// Whom a binding or a rule is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subject {
    /// Everybody, whether known or not: `anyone`.
    Anyone,
    /// Everybody who has shown who he is: `authenticated`.
    Authenticated,
    /// One person: `user:NAME`.
    User(Name),
    /// All of a group: `group:NAME`.
    Group(Name),
    /// The bearer of a credential: `token:NAME`.
    Token(Name),
    /// A data node: `node:NAME`.
    Node(Name),
}

/// Why a text names no subject.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SubjectError {
    /// Something else than the kinds that there are.
    #[error("not `anyone`, `authenticated`, or `user:`, `group:`, `token:` or `node:` and a name")]
    Kind,
    /// The name after the kind is none.
    #[error("name of a subject")]
    Name(#[from] TextError),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::Authenticated => f.write_str("authenticated"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::Token(name) => write!(f, "token:{name}"),
            Self::Node(name) => write!(f, "node:{name}"),
        }
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        match text.split_once(':') {
            None if text == "anyone" => Ok(Self::Anyone),
            None if text == "authenticated" => Ok(Self::Authenticated),
            Some(("user", name)) => Ok(Self::User(Name::parse(name)?)),
            Some(("group", name)) => Ok(Self::Group(Name::parse(name)?)),
            Some(("token", name)) => Ok(Self::Token(Name::parse(name)?)),
            Some(("node", name)) => Ok(Self::Node(Name::parse(name)?)),
            None | Some(_) => Err(SubjectError::Kind),
        }
    }
}

as_text!(Subject);

/// Somebody who asks: everything that he is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal(BTreeSet<Subject>);

impl Principal {
    /// Somebody who has not shown who he is.
    pub fn anonymous() -> Self {
        Self(BTreeSet::from([Subject::Anyone]))
    }

    /// Somebody who has shown that he is all of these.
    pub fn known(subjects: impl IntoIterator<Item = Subject>) -> Self {
        let always = [Subject::Anyone, Subject::Authenticated];
        Self(always.into_iter().chain(subjects).collect())
    }

    /// Whether he is one of these.
    pub fn is_any_of(&self, subjects: &BTreeSet<Subject>) -> bool {
        subjects.iter().any(|subject| self.0.contains(subject))
    }
}

//! Exit codes: the only place that names them, and the table that `goproxyctl help exit-codes` prints.

use proto::code::exit;

/// How the program ends. Scripts rely on the numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Failed, for a reason that has no code of its own.
    Failed,
    /// A plan or a difference found changes.
    Changes,
    /// A precondition is not met.
    Precondition,
    /// Authentication or permission.
    Denied,
    /// No quorum, or the cluster is unhealthy.
    Unhealthy,
    /// Not reachable, or the deadline has passed.
    Unreachable,
    /// Some of several were done.
    Partial,
    /// Usage.
    Usage,
    /// Interrupted.
    Interrupted,
}

impl Exit {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 10] = [
        Self::Done,
        Self::Failed,
        Self::Changes,
        Self::Precondition,
        Self::Denied,
        Self::Unhealthy,
        Self::Unreachable,
        Self::Partial,
        Self::Usage,
        Self::Interrupted,
    ];

    /// The number.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => exit::FAILED,
            Self::Changes => 2,
            Self::Precondition => exit::PRECONDITION,
            Self::Denied => exit::DENIED,
            Self::Unhealthy => exit::UNHEALTHY,
            Self::Unreachable => exit::UNREACHABLE,
            Self::Partial => 7,
            Self::Usage => exit::USAGE,
            Self::Interrupted => exit::INTERRUPTED,
        }
    }

    /// What it means.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Changes => "`layout plan` or `policy diff` found changes (no other command)",
            Self::Precondition => {
                "precondition not met: wrong epoch, would lose data, lagging learner, already there"
            }
            Self::Denied => "authentication or permission",
            Self::Unhealthy => "no quorum, or the cluster is unhealthy",
            Self::Unreachable => "not reachable, or the deadline has passed",
            Self::Partial => "partial success; the answer says which",
            Self::Usage => "usage, or settings of goproxyctl",
            Self::Interrupted => "interrupted",
        }
    }

    /// The exit code for what a server refused: that of its [`proto::ErrorCode`].
    pub(crate) fn of(code: proto::ErrorCode) -> Self {
        let number = code.meaning().exit;
        Self::ALL.into_iter().find(|exit| exit.number() == number).unwrap_or(Self::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_contract() {
        let numbers: Vec<_> = Exit::ALL.iter().map(|exit| exit.number()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 64, 130]);
    }

    #[test]
    fn every_refusal_has_a_code_of_the_table() {
        for code in (0..).map_while(|number| proto::ErrorCode::try_from(number).ok()) {
            assert_eq!(Exit::of(code).number(), code.meaning().exit, "{code}");
        }
    }
}

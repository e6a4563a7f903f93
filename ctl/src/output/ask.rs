//! Asking before something is destroyed: a person types its name; where there is no person, `--yes` has to be said.

use std::io::{BufRead, Write};

use crate::failure::Failure;
use crate::output::style::one_line;

/// No name is longer.
const ANSWER_BYTES_MAX: u64 = 1024;

/// Fails unless `yes` was said or the name is typed. `deed` is what will happen, such as `take node data-1 out for good`.
pub(crate) fn confirm(
    input: &mut dyn BufRead,
    output: &mut dyn Write,
    terminal: bool,
    deed: &str,
    name: &str,
    yes: bool,
) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !terminal {
        return Err(Failure::usage(
            format!("this would {deed}, and there is no terminal to ask on"),
            "pass --yes if that is what you want, or see first what it would do with --dry-run",
        ));
    }
    let question = format!("This will {}.\nType `{}` to go on: ", one_line(deed), one_line(name));
    output.write_all(question.as_bytes()).and_then(|()| output.flush()).map_err(Failure::Output)?;
    let mut answer = Vec::new();
    let mut limited = std::io::Read::take(input, ANSWER_BYTES_MAX);
    limited.read_until(b'\n', &mut answer).map_err(|_| Failure::NotConfirmed)?;
    if answer.trim_ascii() == name.as_bytes() { Ok(()) } else { Err(Failure::NotConfirmed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(input: &str, terminal: bool, yes: bool) -> (Result<(), Failure>, String) {
        let mut output = Vec::new();
        let result =
            confirm(&mut input.as_bytes(), &mut output, terminal, "remove node data-1", "data-1", yes);
        (result, String::from_utf8(output).unwrap())
    }

    #[test]
    fn only_the_name_itself_will_do() {
        let (result, asked) = ask("data-1\n", true, false);
        assert!(result.is_ok());
        assert_eq!(asked, "This will remove node data-1.\nType `data-1` to go on: ");
        for wrong in ["", "\n", "y\n", "yes\n", "data-2\n", "data-1 data-2\n"] {
            assert!(matches!(ask(wrong, true, false).0, Err(Failure::NotConfirmed)), "{wrong:?}");
        }
    }

    #[test]
    fn without_a_terminal_it_has_to_be_said() {
        assert!(matches!(ask("data-1\n", false, false).0, Err(Failure::Usage { .. })));
        let (result, asked) = ask("", false, true);
        assert!(result.is_ok() && asked.is_empty());
    }
}

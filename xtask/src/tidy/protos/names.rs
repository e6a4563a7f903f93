//! The shapes of names.

/// `PascalCase`: no underscore, begins with a capital.
pub(super) fn is_pascal(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}

/// `lower_snake_case`.
pub(super) fn is_lower_snake(name: &str) -> bool {
    is_snake(name, |c| c.is_ascii_lowercase())
}

/// `UPPER_SNAKE_CASE`.
pub(super) fn is_upper_snake(name: &str) -> bool {
    is_snake(name, |c| c.is_ascii_uppercase())
}

fn is_snake(name: &str, letter: impl Fn(char) -> bool) -> bool {
    name.starts_with(&letter)
        && !name.ends_with('_')
        && !name.contains("__")
        && name.chars().all(|c| letter(c) || c.is_ascii_digit() || c == '_')
}

/// `PascalCase` as `UPPER_SNAKE_CASE`.
pub(super) fn upper_snake(pascal: &str) -> String {
    let mut snake = String::new();
    for c in pascal.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_uppercase());
    }
    snake
}

/// `lower_snake_case` as protobuf's JSON has it.
pub(super) fn camel(snake: &str) -> String {
    let mut camel = String::new();
    let mut raise = false;
    for c in snake.chars() {
        if c == '_' {
            raise = true;
        } else {
            camel.push(if std::mem::take(&mut raise) { c.to_ascii_uppercase() } else { c });
        }
    }
    camel
}

/// Whether a part of a package is a version: `v1`, `v2`.
pub(super) fn is_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|number| {
        !number.is_empty() && !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

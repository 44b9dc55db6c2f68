//! How expressions print in plans and errors, and the name of the column that one makes.

use super::Expr;

impl Expr {
    /// The name of the column this makes: its alias, else that of the leftmost column in it, else `literal`. As in
    /// Polars.
    pub fn output_name(&self) -> String {
        self.leftmost_name().unwrap_or_else(|| "literal".to_owned())
    }

    fn leftmost_name(&self) -> Option<String> {
        match self {
            Self::Alias(_, name) | Self::Column(name) => Some(name.clone()),
            Self::Literal(_) => None,
            Self::Unary(_, input) | Self::Cast { input, .. } | Self::IsIn(input, _) => input.leftmost_name(),
            Self::Binary(left, _, right) => left.leftmost_name().or_else(|| right.leftmost_name()),
            Self::Case { branches, otherwise } => branches
                .iter()
                .find_map(|(_, value)| value.leftmost_name())
                .or_else(|| otherwise.as_ref().and_then(|value| value.leftmost_name())),
            Self::Call(_, arguments) => arguments.iter().find_map(Self::leftmost_name),
        }
    }
}

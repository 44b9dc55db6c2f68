//! `LIKE` and `ILIKE`, as the cheapest function that means the same.

use sqlparser::ast::Expr as Tree;

use super::Reader;
use crate::error::Result;
use crate::expr::Expr;

/// One sign of a pattern.
#[derive(Debug, Clone, PartialEq)]
enum Sign {
    Letter(char),
    /// `_`: any one character.
    One,
    /// `%`: any characters.
    Any,
}

impl Reader<'_> {
    pub(super) fn like(&self, text: Expr, pattern: &Tree, escape: Option<&Tree>, ignore_case: bool) -> Result<Expr> {
        let written = self.text_literal(pattern, "a pattern")?;
        let escape = escape.map(|escape| self.text_literal(escape, "the escape")).transpose()?;
        let escape = match escape.as_deref().map(|escape| escape.chars().collect::<Vec<_>>()) {
            None => None,
            Some(signs) if signs.len() == 1 => signs.first().copied(),
            Some(_) => return Err(self.wrong(pattern, "the escape must be one character")),
        };
        let signs = signs(&written, escape)
            .ok_or_else(|| self.wrong(pattern, format!("the pattern '{written}' ends with its escape")))?;
        Ok(matching(text, &signs, ignore_case))
    }
}

fn signs(pattern: &str, escape: Option<char>) -> Option<Vec<Sign>> {
    let mut signs = Vec::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        signs.push(match letter {
            letter if Some(letter) == escape => Sign::Letter(letters.next()?),
            '%' => Sign::Any,
            '_' => Sign::One,
            letter => Sign::Letter(letter),
        });
    }
    Some(signs)
}

fn matching(text: Expr, signs: &[Sign], ignore_case: bool) -> Expr {
    let plain = |signs: &[Sign]| -> Option<String> {
        signs
            .iter()
            .map(|sign| match sign {
                Sign::Letter(letter) => Some(*letter),
                _ => None,
            })
            .collect()
    };
    if !ignore_case {
        match signs {
            [Sign::Any, inner @ .., Sign::Any] if plain(inner).is_some() => {
                return text.contains(plain(inner).unwrap_or_default());
            }
            [inner @ .., Sign::Any] if plain(inner).is_some() => {
                return text.starts_with(plain(inner).unwrap_or_default());
            }
            [Sign::Any, inner @ ..] if plain(inner).is_some() => {
                return text.ends_with(plain(inner).unwrap_or_default());
            }
            all => {
                if let Some(all) = plain(all) {
                    return text.eq(all);
                }
            }
        }
    }
    let mut regex = String::from(if ignore_case { "(?is)^" } else { "(?s)^" });
    for sign in signs {
        match sign {
            Sign::Letter(letter) => regex.push_str(&regex::escape(&letter.to_string())),
            Sign::One => regex.push('.'),
            Sign::Any => regex.push_str(".*"),
        }
    }
    regex.push('$');
    text.matches(regex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::col;

    fn like(pattern: &str) -> Expr {
        matching(col("x"), &signs(pattern, Some('!')).unwrap(), false)
    }

    #[test]
    fn simple_patterns_become_simple_functions() {
        assert_eq!(like("abc"), col("x").eq("abc"));
        assert_eq!(like("abc%"), col("x").starts_with("abc"));
        assert_eq!(like("%abc"), col("x").ends_with("abc"));
        assert_eq!(like("%abc%"), col("x").contains("abc"));
        assert_eq!(like("%"), col("x").starts_with(""));
        assert_eq!(like("100!%"), col("x").eq("100%"));
        assert_eq!(like("a_c%"), col("x").matches("(?s)^a.c.*$"));
        assert_eq!(like("a.%b"), col("x").matches("(?s)^a\\..*b$"));
        assert_eq!(signs("a!", Some('!')), None);
    }
}

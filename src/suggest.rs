//! The name that was probably meant: advice for errors about columns, functions, keys and kinds that do not exist.
//!
//! A name that was mistyped goes in with those that exist; a sentence for [`Error::advice`] comes out. What is known by
//! which name is for the callers to say.
//!
//! [`Error::advice`]: crate::error::Error::advice

/// The nearest of `names` to `wanted`, if it is near enough to be what was meant: case apart, one letter and another
/// for every three may differ.
fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    let letters = wanted.chars().count();
    names
        .into_iter()
        .map(|name| (distance(&wanted, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance < letters.min(2 + name.chars().count() / 3).min(2 + letters / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Advice for a name that does not exist: the nearest one, or else what `otherwise` says.
pub(crate) fn meant<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    nearest(wanted, names).map_or_else(|| otherwise.to_owned(), did_you_mean)
}

/// Advice for a name that does not exist: the nearest one, or else a list of those that do.
pub(crate) fn advice<'a>(wanted: &str, what: &str, names: impl IntoIterator<Item = &'a str> + Clone) -> String {
    const SHOWN_MAX: usize = 20;
    if let Some(name) = nearest(wanted, names.clone()) {
        return did_you_mean(name);
    }
    let names: Vec<&str> = names.into_iter().collect();
    match names.len() {
        0 => format!("there are no {what}"),
        count => {
            let more = if count > SHOWN_MAX { format!(" and {} more", count - SHOWN_MAX) } else { String::new() };
            format!("the {what} are {}{more}", names[..count.min(SHOWN_MAX)].join(", "))
        }
    }
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean \"{name}\"?")
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour to get from one to the other.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_neighbours_count_once() {
        assert_eq!(distance("campaing", "campaign"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_third_of_the_letters_may_differ() {
        assert_eq!(nearest("campaing_id", ["ad_id", "campaign_id"]), Some("campaign_id"));
        assert_eq!(nearest("price", ["ad_id", "campaign_id"]), None);
        assert_eq!(nearest("City", ["city ", "age"]), Some("city "));
    }

    #[test]
    fn names_far_away_are_not_suggested() {
        assert_eq!(nearest("x", ["city", "age"]), None);
        assert_eq!(meant("x", ["city", "age"], "mend it"), "mend it");
        assert_eq!(meant("aeg", ["city", "age"], "mend it"), "did you mean \"age\"?");
        assert_eq!(advice("x", "columns", ["city", "age"]), "the columns are city, age");
        assert_eq!(advice("AGE", "columns", ["city", "age"]), "did you mean \"age\"?");
    }
}

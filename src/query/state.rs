//! Closures over what is remembered of each key from batch to batch: Spark's `mapWithState` and `updateStateByKey`.
//!
//! What is remembered is any Rust type that serde can write and read. It is kept as `MessagePack` with the names of fields:
//! compact and quick, and the bytes say by themselves what they are, so that a type that has changed is found out, new
//! fields may have defaults, and a checkpoint can be looked at without the program.

use std::marker::PhantomData;
use std::time::Duration;

use arrow_array::{ArrayRef, UInt32Array};
use arrow_select::take::take;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cell::Row;
use super::initial::initial_states;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::map_state::micros;
use crate::plan::state_function::{KeyAnswers, KeyCalls, StateAfter, StateFunction};

/// What is remembered of a key, in the hands of a closure.
#[derive(Debug)]
pub struct State<S> {
    value: Option<S>,
    is_new: bool,
    is_timed_out: bool,
    time: Duration,
    watermark: Option<i64>,
    until: Option<i64>,
    until_event: Option<i64>,
}

impl<S> State<S> {
    /// What is remembered; nothing of a key that is new or was forgotten.
    pub fn get(&self) -> Option<&S> {
        self.value.as_ref()
    }

    /// Remembers this from now on.
    pub fn set(&mut self, value: S) {
        (self.value, self.is_new) = (Some(value), true);
    }

    /// What is remembered, to be changed in place.
    pub fn get_mut(&mut self) -> Option<&mut S> {
        self.is_new |= self.value.is_some();
        self.value.as_mut()
    }

    /// Forgets the key, and gives what was remembered.
    pub fn remove(&mut self) -> Option<S> {
        self.value.take()
    }

    /// Whether the key has no rows and is seen because its time is over. What is remembered is forgotten after the call,
    /// unless it is set or changed in it.
    pub fn is_timed_out(&self) -> bool {
        self.is_timed_out
    }

    /// When the batch was cut, as time since the Unix epoch: the same if the batch is run again.
    pub fn time(&self) -> Duration {
        self.time
    }

    /// How far event time had come before the batch, in microseconds since the Unix epoch; of a key that is timed out, how
    /// far it has come with it. Nothing without a watermark, and before it has seen a time.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// The key is timed out when it has had no rows for so long, by the time of batches. Each call for the key begins
    /// without, or with the [`ttl`](super::KeyedDStream::ttl) if there is one.
    pub fn expire_after(&mut self, idle: Duration) {
        self.until = Some(micros(self.time).saturating_add(micros(idle)));
    }

    /// The key is timed out when event time has come so far, in microseconds since the Unix epoch; the stream needs a
    /// watermark for that. Each call for the key begins without.
    pub fn expire_at(&mut self, event_time: i64) {
        self.until_event = Some(event_time);
    }
}

/// A closure over the rows of a key, one at a time, and what is remembered of the key.
pub(super) struct MapFunction<K, V, S, R, F> {
    pub(super) function: F,
    pub(super) ttl: Option<Duration>,
    pub(super) types: PhantomData<fn(K, V, S) -> R>,
}

/// A closure over all values of a key and what is remembered of the key, which is what comes out.
pub(super) struct UpdateFunction<K, V, S, F> {
    pub(super) function: F,
    pub(super) ttl: Option<Duration>,
    pub(super) types: PhantomData<fn(K, V) -> S>,
}

impl<K, V, S, R, I, F> StateFunction for MapFunction<K, V, S, R, F>
where
    K: Row,
    V: Row,
    S: Serialize + DeserializeOwned + 'static,
    R: Row,
    I: IntoIterator<Item = R>,
    F: Fn(&K, Option<V>, &mut State<S>) -> I + Send + Sync,
{
    fn call(&self, calls: &KeyCalls<'_>) -> Result<KeyAnswers> {
        let mut given = Given::<R>::default();
        let states = each_key(calls, self.ttl, |number, key: &K, values: Vec<(V, u32)>, state: &mut State<S>| {
            if calls.is_timed_out {
                given.push(number, place_of_key(number), (self.function)(key, None, state));
            }
            for (value, place) in values {
                given.push(number, place, (self.function)(key, Some(value), state));
            }
        })?;
        given.answers(calls, states)
    }

    fn show(&self, _: &[ArrayRef], _: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        Err(Error::internal("a function that gives rows of its own was asked for what it remembers"))
    }

    fn begin(&self, names: &[&str], columns: &[ArrayRef]) -> Result<Vec<Vec<u8>>> {
        initial_states::<S>(names, columns)
    }

    fn check(&self, state: &[u8]) -> Result<()> {
        read::<S>(state).map(drop)
    }
}

impl<K, V, S, F> StateFunction for UpdateFunction<K, V, S, F>
where
    K: Row,
    V: Row,
    S: Row + Clone + Serialize + DeserializeOwned,
    F: Fn(&K, Vec<V>, Option<S>) -> Option<S> + Send + Sync,
{
    fn call(&self, calls: &KeyCalls<'_>) -> Result<KeyAnswers> {
        let mut given = Given::<S>::default();
        let states = each_key(calls, self.ttl, |number, key: &K, values: Vec<(V, u32)>, state: &mut State<S>| {
            let place = if calls.is_timed_out { Some(place_of_key(number)) } else { values.first().map(|one| one.1) };
            // Rows whose values are all left out touch nothing.
            let Some(place) = place else { return };
            let before = state.remove();
            if let Some(after) = (self.function)(key, values.into_iter().map(|(value, _)| value).collect(), before) {
                given.push(number, place, [after.clone()]);
                state.set(after);
            }
        })?;
        given.answers(calls, states)
    }

    fn show(&self, keys: &[ArrayRef], states: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        let states = states.iter().map(|state| read::<S>(state)).collect::<Result<Vec<_>>>()?;
        Ok(keys.iter().cloned().chain(S::columns(states)).collect())
    }

    fn begin(&self, names: &[&str], columns: &[ArrayRef]) -> Result<Vec<Vec<u8>>> {
        initial_states::<S>(names, columns)
    }

    fn check(&self, state: &[u8]) -> Result<()> {
        read::<S>(state).map(drop)
    }
}

/// Rows that a closure gave, each with its place and the number of its key.
struct Given<R> {
    rows: Vec<R>,
    places: Vec<u32>,
    keys: Vec<u32>,
}

impl<R> Default for Given<R> {
    fn default() -> Self {
        Self { rows: Vec::new(), places: Vec::new(), keys: Vec::new() }
    }
}

impl<R: Row> Given<R> {
    fn push(&mut self, key: usize, place: u32, rows: impl IntoIterator<Item = R>) {
        self.rows.extend(rows);
        self.places.resize(self.rows.len(), place);
        self.keys.resize(self.rows.len(), place_of_key(key));
    }

    /// The keys, then the columns of the rows.
    fn answers(self, calls: &KeyCalls<'_>, states: Vec<StateAfter>) -> Result<KeyAnswers> {
        let keys = UInt32Array::from(self.keys);
        let mut rows = calls.keys.iter().map(|key| take(key, &keys, None)).collect::<Result<Vec<_>, _>>()?;
        rows.extend(R::columns(self.rows));
        Ok(KeyAnswers { rows, places: self.places, states })
    }
}

/// The number of a key as the place of what is given for it. There are no more keys than slots for them, which fit.
fn place_of_key(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Calls `visit` for each key that the closure's type can hold: with its number, the key, its values and their places, and
/// what is remembered. Gives what has become of each key.
fn each_key<K: Row, V: Row, S: Serialize + DeserializeOwned>(
    calls: &KeyCalls<'_>,
    ttl: Option<Duration>,
    mut visit: impl FnMut(usize, &K, Vec<(V, u32)>, &mut State<S>),
) -> Result<Vec<StateAfter>> {
    let keys = K::read_rows(calls.keys, calls.ends.len());
    let mut values = V::read_rows(calls.values, calls.places.len()).into_iter().zip(calls.places.iter().copied());
    let mut start = 0;
    let mut all = Vec::with_capacity(keys.len());
    for (number, key) in keys.iter().enumerate() {
        let (end, before) = (calls.ends[number], calls.states[number]);
        let mine = values.by_ref().take(end - start).filter_map(|(value, place)| Some((value?, place))).collect();
        start = end;
        let Some(key) = key else {
            all.push(StateAfter::default());
            continue;
        };
        let mut state = State {
            value: before.map(read).transpose()?,
            is_new: false,
            is_timed_out: calls.is_timed_out,
            time: calls.time,
            watermark: calls.horizon,
            until: None,
            until_event: None,
        };
        if let Some(ttl) = ttl {
            state.expire_after(ttl);
        }
        visit(number, key, mine, &mut state);
        if state.until_event.is_some() && !calls.has_watermark {
            let message = "a key is to be timed out by event time, and the stream has no watermark that tells it";
            return Err(Error::new(ErrorKind::Function, message)
                .advice("say how late rows may come, with with_watermark, or use expire_after"));
        }
        let bytes = match (&state.value, before) {
            (Some(value), _) if state.is_new => Some(write(value)?),
            (Some(_), Some(before)) if !calls.is_timed_out => Some(before.to_vec()),
            _ => None,
        };
        all.push(StateAfter { state: bytes, until: state.until, until_event: state.until_event });
    }
    Ok(all)
}

pub(super) fn write<S: Serialize>(state: &S) -> Result<Vec<u8>> {
    rmp_serde::to_vec_named(state).map_err(|error| {
        let message = format!("a {} cannot be written down: {error}", short_name::<S>());
        Error::new(ErrorKind::Function, message).because(error)
    })
}

pub(super) fn read<S: DeserializeOwned>(state: &[u8]) -> Result<S> {
    rmp_serde::from_slice(state).map_err(|error| {
        let message = format!("stored bytes are no {}: {error}", short_name::<S>());
        Error::new(ErrorKind::Corrupt, message).because(error)
    })
}

/// The name of a type without the paths of modules: moving a type is not changing it.
pub(super) fn short_name<T>() -> String {
    let mut name = String::new();
    let mut word = String::new();
    for letter in std::any::type_name::<T>().chars() {
        match letter {
            ':' => word.clear(),
            letter if letter.is_alphanumeric() || letter == '_' => word.push(letter),
            other => {
                name.push_str(&word);
                word.clear();
                name.push(other);
            }
        }
    }
    name + &word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_named_without_their_modules() {
        assert_eq!(short_name::<Option<Vec<Duration>>>(), "Option<Vec<Duration>>");
        assert_eq!(short_name::<(u8, String)>(), "(u8, String)");
        assert_eq!(short_name::<[i64; 3]>(), "[i64; 3]");
    }

    #[test]
    fn what_is_remembered_comes_back() {
        assert!(read::<f64>(&write(&f64::NAN).unwrap()).unwrap().is_nan());
        let map = std::collections::BTreeMap::from([((1_u8, "a".to_owned()), i128::MAX)]);
        assert_eq!(read::<std::collections::BTreeMap<(u8, String), i128>>(&write(&map).unwrap()).unwrap(), map);
        assert!(read::<String>(&write(&7).unwrap()).is_err());
    }
}

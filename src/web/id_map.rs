//! A map from the secrets of ids to whatever: open addressing with linear probing.
//!
//! Why not the standard one: a sweep must be able to look at so many places, let go of the
//! lock, and come back to where it was; here a place has a number. The keys are 128 random
//! bits of our own making, so they are their own hash. Nothing here locks, and nothing that
//! is kept is dropped while it is in here: what goes out is given back.

use std::ops::Range;

use super::id::Key;

pub(crate) struct IdMap<V> {
    places: Vec<Option<(Key, V)>>,
    len: usize,
}

impl<V> Default for IdMap<V> {
    fn default() -> IdMap<V> {
        IdMap { places: Vec::new(), len: 0 }
    }
}

impl<V> IdMap<V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many places there are: what a sweep goes through.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    /// What is kept at these places.
    pub(crate) fn slice(&self, places: Range<usize>) -> impl Iterator<Item = (&Key, &V)> {
        let end = places.end.min(self.places.len());
        self.places[places.start.min(end)..end].iter().flatten().map(|(key, value)| (key, value))
    }

    #[inline]
    pub(crate) fn get(&self, key: &Key) -> Option<&V> {
        let place = self.find(key)?;
        self.places[place].as_ref().map(|(_, value)| value)
    }

    /// Keeps a value; gives it back where the key is taken.
    pub(crate) fn insert(&mut self, key: Key, value: V) -> Result<(), V> {
        if self.find(&key).is_some() {
            return Err(value);
        }
        if (self.len + 1) * 4 > self.places.len() * 3 {
            self.resize((self.places.len() * 2).max(SMALLEST));
        }
        self.put(key, value);
        self.len += 1;
        Ok(())
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<V> {
        let place = self.find(key)?;
        let (_, value) = self.places[place].take()?;
        self.len -= 1;
        self.close_gap(place);
        if self.places.len() > SMALLEST && self.len * 8 < self.places.len() {
            self.resize(self.places.len() / 2);
        }
        Some(value)
    }

    #[inline]
    fn find(&self, key: &Key) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let mask = self.places.len() - 1;
        let mut place = home(key) & mask;
        // A quarter of the places is always free, so this ends.
        while let Some((other, _)) = &self.places[place] {
            if other == key {
                return Some(place);
            }
            place = (place + 1) & mask;
        }
        None
    }

    fn put(&mut self, key: Key, value: V) {
        let mask = self.places.len() - 1;
        let mut place = home(&key) & mask;
        while self.places[place].is_some() {
            place = (place + 1) & mask;
        }
        self.places[place] = Some((key, value));
    }

    /// Moves what stands behind a gap into it, so that no search ends there too early.
    fn close_gap(&mut self, mut gap: usize) {
        let mask = self.places.len() - 1;
        let mut place = (gap + 1) & mask;
        while let Some((key, _)) = &self.places[place] {
            let wants = home(key) & mask;
            // May it stand at the gap? Only if that is not before where it wants to be.
            if place.wrapping_sub(wants) & mask >= place.wrapping_sub(gap) & mask {
                self.places.swap(gap, place);
                gap = place;
            }
            place = (place + 1) & mask;
        }
    }

    fn resize(&mut self, places: usize) {
        let empty = std::iter::repeat_with(|| None).take(places).collect();
        for (key, value) in std::mem::replace(&mut self.places, empty).into_iter().flatten() {
            self.put(key, value);
        }
    }
}

/// Shards are told apart by the other half of the key.
fn home(key: &Key) -> usize {
    key[0] as usize
}

const SMALLEST: usize = 8;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_place_takes_three_words() {
        assert_eq!(size_of::<Option<(Key, Arc<u8>)>>(), 24);
    }

    #[test]
    fn it_does_what_the_standard_map_does() {
        // Few homes, so that the runs are long and wrap around.
        let mut random = 88172645463325252u64;
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let (mut map, mut model) = (IdMap::default(), HashMap::new());
        for step in 0..50_000 {
            let key = [next(30).wrapping_sub(15), next(10)];
            if next(2 + u64::from(step % 10_000 > 5_000)) == 0 {
                let taken = model.contains_key(&key);
                assert_eq!(map.insert(key, step).is_err(), taken);
                if !taken {
                    model.insert(key, step);
                }
            } else {
                assert_eq!(map.remove(&key), model.remove(&key));
            }
            assert_eq!(map.get(&key), model.get(&key));
            assert_eq!(map.len(), model.len());
            assert!(map.len() * 4 <= map.places() * 3);
            if step % 500 == 0 {
                assert!(model.iter().all(|(key, value)| map.get(key) == Some(value)));
                assert_eq!(map.slice(0..usize::MAX).count(), model.len());
            }
        }
    }

    #[test]
    fn slices_together_are_everything() {
        let mut map = IdMap::default();
        for at in 0..1000 {
            map.insert([at * 7919, at], at).unwrap();
        }
        let mut seen: Vec<u64> = (0..map.places())
            .step_by(100)
            .flat_map(|from| map.slice(from..from + 100))
            .map(|(_, &v)| v)
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn it_shrinks_when_it_is_empty() {
        let mut map = IdMap::default();
        for at in 0..10_000 {
            map.insert([at, at], ()).unwrap();
        }
        for at in 0..10_000 {
            assert!(map.remove(&[at, at]).is_some());
        }
        assert_eq!(map.places(), SMALLEST);
    }
}

//! Which zygotes are kept ready: one for each kind that was asked for lately, as many as the operator allows.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use super::imports::Import;

/// What a zygote is good for. All but the imports must be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    pub environment: PathBuf,
    pub python_prefix: PathBuf,
    pub imports: Vec<Import>,
    /// Its walls and limits are made for it and do not change.
    pub memory_bytes_max: u64,
    pub gpu: Option<usize>,
}

impl Kind {
    /// A version that imports more can use it too; one that imports less would find itself with modules that it never asked for.
    fn serves(&self, wanted: &Self) -> bool {
        let same = (&self.environment, self.memory_bytes_max, self.gpu) == (&wanted.environment, wanted.memory_bytes_max, wanted.gpu);
        same && self.imports.iter().all(|import| wanted.imports.contains(import))
    }
}

/// Why a kind cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    pub why: String,
    /// The import at fault, if it is one.
    pub module: Option<String>,
}

#[derive(Debug)]
pub struct Shelf<Z> {
    /// The latest first.
    places: Vec<Place<Z>>,
    places_max: usize,
    /// Imports that no zygote of an environment does.
    refused: HashSet<(PathBuf, String)>,
}

#[derive(Debug)]
struct Place<Z> {
    kind: Kind,
    state: State<Z>,
}

#[derive(Debug)]
enum State<Z> {
    Empty,
    Preparing,
    Ready(Z),
    /// Not tried again as long as the runner lives or the kind is remembered.
    Unfit,
}

impl<Z> Shelf<Z> {
    pub fn new(places_max: usize) -> Self {
        Self { places: Vec::new(), places_max, refused: HashSet::new() }
    }

    pub const fn is_closed(&self) -> bool {
        self.places_max == 0
    }

    /// Remembers that the kind is in use. Returns what had to make room for it.
    #[must_use]
    pub fn want(&mut self, kind: Kind) -> Vec<Z> {
        let kind = self.without_refused(kind);
        let at = self.places.iter().position(|place| place.kind == kind);
        let place = at.map_or(Place { kind, state: State::Empty }, |at| self.places.remove(at));
        self.places.insert(0, place);
        self.places.split_off(self.places.len().min(self.places_max)).into_iter().filter_map(Place::into_zygote).collect()
    }

    /// The zygote that spares the version the most imports, of those that fit it otherwise.
    pub fn take(&mut self, wanted: &Kind, fits: impl Fn(&Z) -> bool) -> Option<Z> {
        let serves = |place: &&mut Place<Z>| matches!(&place.state, State::Ready(zygote) if fits(zygote)) && place.kind.serves(wanted);
        let place = self.places.iter_mut().filter(serves).max_by_key(|place| place.kind.imports.len())?;
        match std::mem::replace(&mut place.state, State::Empty) {
            State::Ready(zygote) => Some(zygote),
            State::Empty | State::Preparing | State::Unfit => None,
        }
    }

    /// The kind to prepare next, which is then under way.
    pub fn next(&mut self) -> Option<Kind> {
        let place = self.places.iter_mut().find(|place| matches!(place.state, State::Empty))?;
        place.state = State::Preparing;
        Some(place.kind.clone())
    }

    /// What became of a kind that was under way. Returns a zygote that nobody wants any more.
    #[must_use]
    pub fn prepared(&mut self, kind: &Kind, prepared: Result<Z, Unfit>) -> Option<Z> {
        let place = self.places.iter_mut().find(|place| place.kind == *kind);
        match prepared {
            Ok(zygote) => match place {
                Some(place) => place.state = State::Ready(zygote),
                None => return Some(zygote),
            },
            Err(Unfit { module: Some(module), .. }) => {
                self.refused.insert((kind.environment.clone(), module));
                self.places.retain(|place| place.kind != *kind);
                return self.want(kind.clone()).pop();
            }
            Err(_) => {
                if let Some(place) = place {
                    place.state = State::Unfit;
                }
            }
        }
        None
    }

    /// The one that was used longest ago, which is then forgotten.
    pub fn let_go(&mut self) -> Option<Z> {
        let at = self.places.iter().rposition(|place| matches!(place.state, State::Ready(_)))?;
        self.places.remove(at).into_zygote()
    }

    pub fn ready(&self) -> usize {
        self.places.iter().filter(|place| matches!(place.state, State::Ready(_))).count()
    }

    /// Imports are done in order, and those after one that is refused may rest on it.
    fn without_refused(&self, mut kind: Kind) -> Kind {
        let refused: BTreeSet<&str> =
            self.refused.iter().filter(|(at, _)| *at == kind.environment).map(|(_, module)| module.as_str()).collect();
        let first = kind.imports.iter().position(|Import(module, _)| refused.contains(module.as_str()));
        kind.imports.truncate(first.unwrap_or(kind.imports.len()));
        kind
    }
}

impl<Z> Place<Z> {
    fn into_zygote(self) -> Option<Z> {
        match self.state {
            State::Ready(zygote) => Some(zygote),
            State::Empty | State::Preparing | State::Unfit => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(environment: &str, imports: &[&str]) -> Kind {
        let imports = imports.iter().map(|module| Import((*module).to_owned(), Vec::new())).collect();
        Kind { environment: environment.into(), python_prefix: "/python".into(), imports, memory_bytes_max: 1, gpu: None }
    }

    /// Prepares everything that is wanted; a zygote is named after its kind.
    fn fill(shelf: &mut Shelf<String>) -> Vec<String> {
        let mut filled = Vec::new();
        while let Some(kind) = shelf.next() {
            let name = format!("{} {}", kind.environment.display(), kind.imports.len());
            assert_eq!(shelf.prepared(&kind, Ok(name.clone())), None);
            filled.push(name);
        }
        filled
    }

    #[test]
    fn each_is_used_once_and_prepared_again() {
        let mut shelf = Shelf::new(2);
        assert!(shelf.want(kind("a", &[])).is_empty());
        assert_eq!(shelf.take(&kind("a", &[]), |_| true), None);
        assert_eq!(fill(&mut shelf), ["a 0"]);
        assert_eq!(shelf.take(&kind("a", &[]), |_| true).as_deref(), Some("a 0"));
        assert_eq!(shelf.take(&kind("a", &[]), |_| true), None);
        assert_eq!(fill(&mut shelf), ["a 0"]);
        assert!(shelf.want(kind("a", &[])).is_empty() && fill(&mut shelf).is_empty(), "one of a kind is enough");
    }

    #[test]
    fn a_version_gets_what_it_imports_itself_and_nothing_else() {
        let mut shelf = Shelf::new(4);
        for imports in [&[][..], &["numpy"], &["numpy", "torch"]] {
            assert!(shelf.want(kind("a", imports)).is_empty());
        }
        fill(&mut shelf);
        assert_eq!(shelf.take(&kind("a", &["numpy", "PIL"]), |_| true).as_deref(), Some("a 1"));
        assert_eq!(shelf.take(&kind("a", &["PIL"]), |_| true).as_deref(), Some("a 0"));
        assert_eq!(shelf.take(&kind("b", &["numpy", "torch"]), |_| true), None);
        assert_eq!(shelf.take(&Kind { memory_bytes_max: 2, ..kind("a", &["numpy", "torch"]) }, |_| true), None);
        assert_eq!(shelf.take(&Kind { gpu: Some(0), ..kind("a", &["numpy", "torch"]) }, |_| true), None);
    }

    #[test]
    fn the_kind_that_was_used_longest_ago_makes_room() {
        let mut shelf = Shelf::new(2);
        for name in ["a", "b"] {
            assert!(shelf.want(kind(name, &[])).is_empty());
        }
        fill(&mut shelf);
        assert!(shelf.want(kind("a", &[])).is_empty());
        assert_eq!(shelf.want(kind("c", &[])), ["b 0"]);
        assert_eq!(fill(&mut shelf), ["c 0"]);
        assert_eq!((shelf.let_go().as_deref(), shelf.ready()), (Some("a 0"), 1));
        assert!(fill(&mut shelf).is_empty(), "what was let go for want of memory is not prepared again");
    }

    #[test]
    fn one_that_is_ready_too_late_is_given_back() {
        let mut shelf: Shelf<&str> = Shelf::new(1);
        assert!(shelf.want(kind("a", &[])).is_empty());
        let under_way = shelf.next().unwrap();
        assert!(shelf.want(kind("b", &[])).is_empty());
        assert_eq!(shelf.prepared(&under_way, Ok("a")), Some("a"));
    }

    #[test]
    fn an_import_that_cannot_be_done_is_left_out_of_its_environment() {
        let mut shelf: Shelf<&str> = Shelf::new(2);
        assert!(shelf.want(kind("a", &["numpy", "cupy", "torch"])).is_empty());
        let under_way = shelf.next().unwrap();
        assert_eq!(shelf.prepared(&under_way, Err(Unfit { why: String::new(), module: Some("cupy".to_owned()) })), None);
        assert_eq!(shelf.next(), Some(kind("a", &["numpy"])));
        assert!(shelf.want(kind("b", &["cupy"])).is_empty());
        assert_eq!(shelf.next(), Some(kind("b", &["cupy"])));
    }

    #[test]
    fn a_kind_that_is_unfit_is_not_tried_again() {
        let mut shelf: Shelf<&str> = Shelf::new(1);
        assert!(shelf.want(kind("a", &[])).is_empty());
        let under_way = shelf.next().unwrap();
        assert_eq!(shelf.prepared(&under_way, Err(Unfit { why: String::new(), module: None })), None);
        assert!(shelf.want(kind("a", &[])).is_empty());
        assert_eq!((shelf.next(), shelf.take(&kind("a", &[]), |_| true)), (None, None));
    }

    #[test]
    fn a_shelf_without_places_keeps_nothing() {
        let mut shelf: Shelf<&str> = Shelf::new(0);
        assert!(shelf.is_closed() && shelf.want(kind("a", &[])).is_empty() && shelf.next().is_none());
    }
}

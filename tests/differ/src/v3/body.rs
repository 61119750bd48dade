//! Bodies for the gateway: the same message in the many forms that JSON permits. Some bodies have one oddity, which a server
//! accepts or refuses.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    Era,
    draw::{Drawn, refer},
    oddity::{BOTH_NAMES, DAMAGED, ODDITIES, Oddity, Place, Read, TRUNCATED, TWICE},
};
use crate::rng::Rng;

/// Percentage of bodies with an oddity.
const ODD_PERCENT: u64 = 70;

/// Maximum number of oddities that are tried until one fits into the body.
const ODDITY_ATTEMPTS: usize = 6;

/// Returns a body, encoded as part of a line, and its oddity, if any. If the body `puts` a key, does not change a single byte
/// of it, because the body could then put an unknown key. etcd sorts additional keys in an undefined order.
pub(crate) fn draw(
    rng: &mut Rng,
    era: Era,
    value: &Value,
    puts: bool,
) -> (String, Option<&'static str>) {
    if !rng.chance(ODD_PERCENT) {
        return (written(rng, era, value, None), None);
    }
    for _ in 0..ODDITY_ATTEMPTS {
        let at = rng.below(ODDITIES.len() + 12);
        let Some(oddity) = ODDITIES.get(at) else {
            return altered(
                rng,
                era,
                value,
                at % if puts { CHANGED } else { CHANGED + 1 },
            );
        };
        let places = places(value, oddity.place);
        if places == 0 || oddity.read(era) == Read::Never {
            continue;
        }
        if oddity.place == Place::Whole {
            return (oddity.text.into(), Some(oddity.name));
        }
        let at = rng.below(places);
        let text = written(rng, era, value, Some((oddity, at)));
        return (text, Some(oddity.name));
    }
    (written(rng, era, value, None), None)
}

/// Returns a body without an oddity.
pub(crate) fn plain(rng: &mut Rng, era: Era, drawn: &Drawn) -> String {
    written(rng, era, &drawn.json(), None)
}

/// Returns a body with each oddity that is tested with this etcd.
pub(crate) fn every(
    rng: &mut Rng,
    era: Era,
    mut draw: impl FnMut(&mut Rng) -> Drawn,
) -> Vec<(Drawn, String, &'static str)> {
    let mut all = Vec::new();
    for oddity in ODDITIES {
        if oddity.read(era) == Read::Never {
            continue;
        }
        let (drawn, places) = loop {
            let drawn = draw(rng);
            let places = places(&drawn.json(), oddity.place);
            if places > 0 {
                break (drawn, places);
            }
        };
        let text = if oddity.place == Place::Whole {
            oddity.text.into()
        } else {
            let at = rng.below(places);
            written(rng, era, &drawn.json(), Some((oddity, at)))
        };
        all.push((drawn, text, oddity.name));
    }
    for how in [CUT, DOUBLED, DOUBLED_BY_BOTH, CHANGED] {
        let made = loop {
            let drawn = draw(rng);
            let (text, what) = altered(rng, era, &drawn.json(), how);
            // A damaged body must not put a key (see `draw`), and some bodies have no second name.
            if let Some(what) = what
                && !(how == CHANGED && drawn.puts())
                && (how != DOUBLED_BY_BOTH || what == BOTH_NAMES)
            {
                break (drawn, text, what);
            }
        };
        all.push(made);
    }
    all
}

/// The alterations that `altered` can make.
const CUT: usize = 0;
const DOUBLED: usize = 1;
const DOUBLED_BY_BOTH: usize = 2;
const CHANGED: usize = 3;

/// Returns an altered body and the name of the alteration, or `None` if a body without members cannot be altered.
fn altered(rng: &mut Rng, era: Era, value: &Value, how: usize) -> (String, Option<&'static str>) {
    let mut text = written(rng, era, value, None).into_bytes();
    match how {
        CUT => {
            text.truncate(1 + rng.below(text.len() - 1));
            (lossy(text), Some(TRUNCATED))
        }
        CHANGED => {
            let at = rng.below(text.len());
            // No inserted byte may begin an escape or a reference of the line.
            text[at] = *rng.pick(b"{}[]:,\"0 x-.etn\x01");
            (lossy(text), Some(DAMAGED))
        }
        _ => match value.as_object().filter(|object| !object.is_empty()) {
            None => (lossy(text), None),
            Some(object) => {
                let (name, member) = object.iter().nth(rng.below(object.len())).expect("below");
                let twice = how == DOUBLED || camel(name) == *name;
                let name = if twice { name.clone() } else { camel(name) };
                let mut whole = written(rng, Era::Former, &Value::Object(object.clone()), None);
                // The second member has the name that was drawn. The first one usually has its own name.
                whole.truncate(whole.trim_end().len() - 1);
                let second = written(rng, Era::Former, member, None);
                let second = retyped(member, &name, second);
                let what = if twice { TWICE } else { BOTH_NAMES };
                (format!("{whole},\"{name}\":{second}}}"), Some(what))
            }
        },
    }
}

/// Corrects a value that was written without its name, because the name determines its type.
fn retyped(member: &Value, name: &str, text: String) -> String {
    match kind(name, member) {
        Some(Place::Bytes | Place::Int | Place::Enum | Place::Bool) => refer(&member.to_string()),
        _ => text,
    }
}

fn lossy(text: Vec<u8>) -> String {
    String::from_utf8_lossy(&text).into_owned()
}

/// Returns the kind of place of a member's value, or `None` if an oddity cannot be placed in the value.
fn kind(name: &str, value: &Value) -> Option<Place> {
    Some(match name {
        "compare" | "success" | "failure" => Place::List,
        "sort_order" | "sort_target" | "result" | "target" => Place::Enum,
        "key" | "range_end" | "value" => Place::Bytes,
        "prev_kv" | "ignore_value" | "ignore_lease" | "serializable" | "keys_only"
        | "count_only" | "physical" => Place::Bool,
        _ if name.starts_with("request_") => Place::Message,
        _ if value.is_string() => Place::Int,
        _ => return None,
    })
}

/// Returns the number of places of this kind in a body.
fn places(value: &Value, place: Place) -> usize {
    match place == Place::Whole {
        true => 1,
        false => count(value, "", place),
    }
}

/// Returns the number of places of this kind in a value.
fn count(value: &Value, name: &str, place: Place) -> usize {
    let own = usize::from(!name.is_empty() && kind(name, value) == Some(place));
    own + match value {
        Value::Array(items) => items.iter().map(|item| count(item, "", place)).sum(),
        Value::Object(members) => {
            let here = usize::from(holds(value, place));
            let inner = members
                .iter()
                .map(|(name, value)| count(value, name, place));
            here + inner.sum::<usize>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Returns whether an object itself is a place of this kind.
fn holds(value: &Value, place: Place) -> bool {
    match place {
        Place::Member => value.is_object(),
        Place::Alternative => value.as_object().is_some_and(|members| {
            members.len() == 1 && members.keys().all(|name| name.starts_with("request_"))
        }),
        Place::Bytes
        | Place::Int
        | Place::Bool
        | Place::Enum
        | Place::Message
        | Place::List
        | Place::Whole => false,
    }
}

/// Writes a value, with an oddity at the place of this number.
fn written(rng: &mut Rng, era: Era, value: &Value, odd: Option<(&Oddity, usize)>) -> String {
    let mut writer = Writer { rng, era, odd, out: String::new() };
    writer.value("", value);
    refer(&writer.out)
}

struct Writer<'a> {
    rng: &'a mut Rng,
    era: Era,
    odd: Option<(&'a Oddity, usize)>,
    out: String,
}

impl Writer<'_> {
    /// Counts places down. Returns the oddity's text when its place is reached.
    fn due(&mut self, place: Place) -> Option<&'static str> {
        let (oddity, left) = self.odd?;
        if oddity.place != place {
            return None;
        }
        if left == 0 {
            self.odd = None;
            return Some(oddity.text);
        }
        self.odd = Some((oddity, left - 1));
        None
    }

    fn value(&mut self, name: &str, value: &Value) {
        let place = if name.is_empty() {
            None
        } else {
            kind(name, value)
        };
        if let Some(place) = place
            && let Some(text) = self.due(place)
        {
            self.out.push_str(text);
            return;
        }
        match value {
            Value::Object(members) => self.object(value, members),
            Value::Array(items) => {
                self.out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        self.out.push(',');
                    }
                    self.value("", item);
                }
                self.out.push(']');
            }
            Value::String(text) => self.text(name, text, place),
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                let _ = write!(self.out, "{value}");
            }
        }
    }

    fn object(&mut self, value: &Value, members: &serde_json::Map<String, Value>) {
        let mut extra = Vec::new();
        for place in [Place::Member, Place::Alternative] {
            if holds(value, place) {
                extra.extend(self.due(place));
            }
        }
        self.out.push('{');
        self.space();
        let mut first = true;
        for (name, value) in members {
            if !std::mem::take(&mut first) {
                self.out.push(',');
                self.space();
            }
            let spelled = match self.rng.chance(20) {
                true => camel(name),
                false => name.clone(),
            };
            let _ = write!(self.out, "\"{spelled}\":");
            self.space();
            self.value(name, value);
            self.space();
        }
        for member in extra {
            if !std::mem::take(&mut first) {
                self.out.push(',');
            }
            self.out.push_str(member);
        }
        self.out.push('}');
    }

    fn space(&mut self) {
        if self.rng.chance(4) {
            let spaces: [&str; 4] = [" ", "\\n  ", "\\r\\n", "\t"];
            self.out.push_str(spaces[self.rng.below(spaces.len())]);
        }
    }

    fn text(&mut self, name: &str, text: &str, place: Option<Place>) {
        match place {
            Some(Place::Enum) if self.rng.chance(40) => {
                let _ = write!(self.out, "{}", number_of(name, text));
            }
            Some(Place::Int) if self.rng.chance(40) => {
                self.out.push_str(text);
                if self.era == Era::Present {
                    let ends = ["", "", ".0", "e0", ".00E+0"];
                    self.out.push_str(ends[self.rng.below(ends.len())]);
                }
            }
            Some(Place::Bytes) if self.era == Era::Present && self.rng.chance(20) => {
                let bare = text
                    .trim_end_matches('=')
                    .replace('+', "-")
                    .replace('/', "_");
                let _ = write!(self.out, "\"{bare}\"");
            }
            _ => {
                let _ = write!(self.out, "\"{text}\"");
            }
        }
    }
}

/// Returns the number of an enum's value.
fn number_of(field: &str, name: &str) -> usize {
    let names: &[&str] = match field {
        "sort_order" => &["NONE", "ASCEND", "DESCEND"],
        "result" => &["EQUAL", "GREATER", "LESS", "NOT_EQUAL"],
        "sort_target" => &["KEY", "VERSION", "CREATE", "MOD", "VALUE"],
        _ => &["VERSION", "CREATE", "MOD", "VALUE", "LEASE"],
    };
    names
        .iter()
        .position(|known| *known == name)
        .expect("a name of the contract")
}

/// Converts a name such as `range_end` to `rangeEnd`.
fn camel(name: &str) -> String {
    let mut out = String::new();
    let mut upper = false;
    for letter in name.chars() {
        match letter {
            '_' => upper = true,
            _ if std::mem::take(&mut upper) => out.push(letter.to_ascii_uppercase()),
            _ => out.push(letter),
        }
    }
    out
}

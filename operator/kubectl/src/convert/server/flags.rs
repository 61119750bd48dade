//! Flags as containers have them: variables, arguments, and objects of names and values.

use super::super::{
    fields::{Fields, text_of},
    notes::shown,
};

/// A flag of etcd without its dashes, and where it is in the document.
#[derive(Debug)]
pub(in super::super) struct Flag {
    pub(in super::super) path: String,
    pub(in super::super) name: String,
    pub(in super::super) value: String,
}

/// Takes fields that are flags: the path of each, the name of its flag and, if an unset one is a flag as well, its default.
pub(in super::super) fn of_fields(
    fields: &mut Fields,
    typed: &[(&str, &str, Option<&str>)],
) -> Vec<Flag> {
    let flags = typed.iter().filter_map(|(path, name, default)| {
        let value = fields.word(path).or(default.map(str::to_owned))?;
        Some(Flag { path: (*path).to_owned(), name: (*name).to_owned(), value })
    });
    flags.collect()
}

/// Takes all variables of a container and returns those of etcd (`ETCD_*` with a value) as flags. Others, and
/// `valueFrom`, are noted as not converted.
pub(in super::super) fn of_variables(fields: &mut Fields, path: &str) -> Vec<Flag> {
    let mut flags = Vec::new();
    for (place, item) in fields.items(path) {
        let shown = shown(&item);
        let mut variable = Fields::at(item, fields.path(&place));
        let name = variable.word("name").unwrap_or_default();
        let value = variable.text("value");
        variable.gone("valueFrom", "a flag is a text of the spec");
        fields.close(variable);
        match name.strip_prefix("ETCD_") {
            Some(flag) => flags.extend(value.map(|value| Flag {
                path: fields.path(&format!("{place} ({name})")),
                name: flag.to_ascii_lowercase().replace('_', "-"),
                value,
            })),
            None => fields.refuse(&place, format!("{shown} is no variable of etcd")),
        }
    }
    flags
}

/// Reads flags from a list of arguments: `--name=value`, `--name value`, or the value as the next argument.
pub(in super::super) fn of_arguments(fields: &mut Fields, path: &str) -> Vec<Flag> {
    let mut flags: Vec<Flag> = Vec::new();
    let mut open = false;
    for (place, argument) in fields.items(path) {
        let text = argument.as_str().unwrap_or_default().trim();
        let dashed = text.strip_prefix("--").or_else(|| text.strip_prefix('-'));
        match (dashed, flags.last_mut()) {
            (Some(flag), _) => {
                let pair = flag.split_once(['=', ' ']);
                open = pair.is_none();
                let (name, value) = pair.unwrap_or((flag, "true"));
                flags.push(Flag {
                    path: fields.path(&place),
                    name: name.to_owned(),
                    value: value.trim().to_owned(),
                });
            }
            (None, Some(last)) if open && !text.is_empty() => {
                text.clone_into(&mut last.value);
                open = false;
            }
            (None, _) => {
                let reason = format!("{} is no flag", shown(&argument));
                fields.refuse(&place, reason);
            }
        }
    }
    flags
}

pub(in super::super) fn of_object(fields: &mut Fields, path: &str) -> Vec<Flag> {
    let texts = fields.texts(path).unwrap_or_default().into_iter();
    let flags = texts.map(|(name, value)| Flag {
        path: fields.path(&format!("{path}.{name}")),
        value: text_of(&value).unwrap_or_default(),
        name,
    });
    flags.collect()
}

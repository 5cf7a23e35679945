//! From a name to a file, from a file to a profile.

use std::path::{Path, PathBuf};

use super::error::{Problem, ProfileError};
use super::nearest::nearest;
use super::raw::RawProfile;
use super::resolve::resolve;
use super::rules;
use super::shape;
use super::tree::{self, Tree};
use super::types::Profile;

/// Loads `NAME.yaml` from the first of `dirs` that has it; something with a slash or a YAML ending is a path.
pub fn load(name_or_path: &str, dirs: &[PathBuf]) -> Result<Profile, ProfileError> {
    let path = find(name_or_path, dirs)?;
    let text = std::fs::read_to_string(&path).map_err(|source| ProfileError::Read { path: path.clone(), source })?;
    parse(&text, &path)
}

/// The names of the profiles in `dirs`, sorted; a name that an earlier directory has is listed once.
pub fn known(dirs: &[PathBuf]) -> Vec<String> {
    let files = dirs.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().filter_map(Result::ok);
    let name = |path: PathBuf| (path.extension()? == "yaml").then(|| path.file_stem()?.to_str().map(str::to_owned))?;
    let mut names: Vec<String> = files.filter_map(|file| name(file.path())).collect();
    names.sort();
    names.dedup();
    names
}

fn find(name: &str, dirs: &[PathBuf]) -> Result<PathBuf, ProfileError> {
    let yaml = Path::new(name).extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let looked: Vec<PathBuf> = if yaml || name.contains(std::path::is_separator) {
        vec![PathBuf::from(name)]
    } else {
        dirs.iter().map(|dir| dir.join(format!("{name}.yaml"))).collect()
    };
    if let Some(path) = looked.iter().find(|path| path.is_file()) {
        return Ok(path.clone());
    }
    let known = known(dirs);
    let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or(name);
    let nearest = nearest(stem, known.iter().map(String::as_str)).map(str::to_owned);
    Err(ProfileError::NotFound { name: name.to_owned(), looked, known, nearest })
}

/// Reads a profile from `text`; `path` names it in messages, gives the stem that `name` must equal, and its
/// directory is where the paths inside the profile begin.
pub fn parse(text: &str, path: &Path) -> Result<Profile, ProfileError> {
    let invalid = |problems: Vec<Problem>| ProfileError::Invalid { file: path.to_owned(), problems };
    let tree = Tree::read(text).map_err(|problem| invalid(vec![problem]))?;
    let problems = shape::check(&tree, &super::schema());
    if !problems.is_empty() {
        return Err(invalid(problems));
    }
    let raw: RawProfile = tree::read(text).map_err(|problem| invalid(vec![problem]))?;
    let (mut profile, mut draft) = resolve(raw, path, tree.index());
    rules::check(&profile, &mut draft);
    if draft.problems.is_empty() {
        profile.warnings = draft.warnings;
        return Ok(profile);
    }
    draft.problems.sort_by_key(|problem| (problem.line, problem.column));
    Err(invalid(draft.problems))
}

#[cfg(test)]
mod tests;

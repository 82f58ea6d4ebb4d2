//! What a plugin asks for, what the admin grants, and whether both keys turn.
//!
//! A [`Manifest`] is in the component file itself, in the custom section
//! [`SECTION`]; [`read_manifest`] finds it there and [`embed`] puts it there.
//! [`Grants`] come from a file and a directory of files; [`Grants::load`] reads
//! all of them, with the secrets that they point to. [`decide`] compares the
//! two and gives an [`Allowance`], which is all that the plugin may touch, or
//! the lines that are missing; [`add_lines`] writes them into a file.
//!
//! Nothing here runs a plugin, keeps a task or looks at the clock. Files are
//! read in [`read_manifest`] and [`Grants::load`] and nowhere else.

#![forbid(unsafe_code)]

mod allowance;
mod ask;
mod decide;
mod edit;
mod grant;
mod http;
mod load;
mod manifest;
mod pattern;
mod secret;
mod section;
mod text;

pub use allowance::{Allowance, AllowedDirectory, AllowedProgram};
pub use ask::{Asks, DirectoryAsk, NamedAsk, ProgramAsk, StateAsk, SysinfoAsk};
pub use decide::{Decision, Missing, decide};
pub use edit::{EditError, Lines, add_lines};
pub use grant::{
    AbsolutePath, Access, DirectoryGrant, GrantsFile, GrantsFileError, PluginGrants, ProgramGrant,
    SecretSource,
};
pub use http::{
    Authority, BODY_LIMIT, BodyCondition, BodyRule, HttpAllowance, HttpAsk, HttpDenial, HttpGrant,
    HttpPlace, HttpRequest, HttpRule, HttpTarget, Route, Scheme,
};
pub use load::{Grants, GrantsError};
pub use manifest::{FORMAT, Manifest, ManifestError};
pub use pattern::{ArgumentPattern, PatternError};
pub use secret::Secret;
pub use section::{EmbedError, SECTION, SectionError, embed, read_manifest};
pub use text::{
    DirectoryPath, HeaderName, PluginName, ProgramPath, SettingName, TextError, VariableName,
};

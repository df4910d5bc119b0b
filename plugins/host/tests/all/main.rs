//! Plugins that break the rules, one rule at a time: each must end in an error that says which, and in nothing worse.

mod calls; // what a loaded plugin gives back
mod load; // what can't be loaded
mod support; // compiling and loading

use panchroma_heads as _;
use panchroma_table as _;

//! Plugins that break the rules, one rule at a time: each must end in an error that says which, and in nothing worse.

mod calls; // what a loaded plugin gives back
mod history; // what was written for earlier versions of the interface
mod learning; // what a modality learns from the training split
mod load; // what can't be loaded
mod support; // compiling and loading

use panchroma_heads as _;
use panchroma_table as _;

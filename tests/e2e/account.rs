//! Tenants' SmartAccounts, their policies and their agents, on a real chain with the real EntryPoint.

mod agents;
mod commands;
mod gates;
mod spending;
mod world;

//! Drives whole runners through the fabric, with real processes: the real Cog, and small servers that misbehave as it may.

mod cog;
mod frozen;
mod house;
mod lifecycle;
mod odd;
mod openai;
mod orders;
mod training;
mod weights;
mod zygote;

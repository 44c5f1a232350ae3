/**
 * `sodium-native`, libsodium as a native addon, which is optional: it has no build for every system. Who uses it says which of its calls, checks
 * that they are there, and has a portable twin.
 */
import { createRequire } from 'node:module'

/** The addon, which brings no types; `null`: no build for this system, or not installed. */
export function sodiumAddon(): unknown {
  try {
    return createRequire(import.meta.url)('sodium-native')
  } catch {
    return null
  }
}

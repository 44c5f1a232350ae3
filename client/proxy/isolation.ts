/**
 * Isolation by credentials, as with Tor's proxies: whoever names another user or password gets other loops, sessions and caches. Nothing is
 * checked, nobody is ever asked for them, and they never leave this node: only a hash of them goes on, so that no log or report that
 * names an isolation can hold a password. HTTP and SOCKS give the same name for the same credentials.
 */
import { toHex, utf8 } from '../../src/bytes/index.ts'
import { sha256 } from '../../src/crypto/index.ts'
import { malformed } from './target.ts'

/** Longest Proxy-Authorization that is read; SOCKS allows 255 bytes for each of user and password. */
const CREDENTIALS_CHARS_MAX = 1024

/** The isolation of user and password; of none, the default ''. */
export function isolationOf(user: Uint8Array, password: Uint8Array): string {
  if (user.length === 0 && password.length === 0) return ''
  // Each is hashed alone first: no user and password run together into another pair.
  return toHex(sha256(utf8(`gyre/1 isolation ${toHex(sha256(user))} ${toHex(sha256(password))}`))).slice(0, 32)
}

/** The isolation that a Proxy-Authorization header names. Throws 400 for one that is malformed: it is never mixed with the default. */
export function isolationFrom(header: string | undefined): string {
  if (header === undefined) return ''
  const encoded = header.length > CREDENTIALS_CHARS_MAX ? null : /^Basic +([A-Za-z0-9+/_-]*={0,2}) *$/i.exec(header)
  if (encoded === null) throw malformed('Proxy-Authorization takes Basic credentials; they are used for isolation only.')
  const bytes = new Uint8Array(Buffer.from(encoded[1] ?? '', 'base64'))
  const colon = bytes.indexOf(0x3a)
  return colon < 0 ? isolationOf(bytes, new Uint8Array()) : isolationOf(bytes.subarray(0, colon), bytes.subarray(colon + 1))
}

/**
 * What a name is, and which names a person could take for each other. Names are this node's own: nobody assigns them, nothing asks the
 * network for one, and an address always wins over a name.
 */

/** Longest name: one character less than an address. */
export const NAME_CHARS_MAX = 55
/** Names of one book. */
export const NAMES_MAX = 4_096
/** Characters of what the book says of where a name came from. */
export const SOURCE_CHARS_MAX = 64

/**
 * Whether `text` is a name: lower case letters, digits and hyphens, none at either end; a label of a host name (RFC 1123). None has hyphens in
 * third and fourth place (RFC 5891 §4.2.3.1): browsers show `xn--…` as letters of other scripts, and the proxies refuse them.
 */
export function isPetname(text: string): boolean {
  return text.length <= NAME_CHARS_MAX && /^(?!..--)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/.test(text)
}

/** Whether `text` can stand as the source of a name: short, without control characters. Whoever shows it takes care of the rest. */
export function isSource(text: string): boolean {
  if (text.length === 0 || text.length > 2 * SOURCE_CHARS_MAX || [...text].length > SOURCE_CHARS_MAX) return false
  return [...text].every((char) => (char.codePointAt(0) ?? 0) >= 0x20 && char !== '\x7f')
}

/** `name` with what looks alike made the same: `paypa1` and `paypal`, `rnail` and `mail`, `my-site` and `mysite`. */
export function skeleton(name: string): string {
  return name
    .replaceAll('-', '')
    .replaceAll('rn', 'm')
    .replaceAll('vv', 'w')
    .replaceAll(/[1i]/g, 'l')
    .replaceAll('0', 'o')
    .replaceAll('5', 's')
    .replaceAll('2', 'z')
}

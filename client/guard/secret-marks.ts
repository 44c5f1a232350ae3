/**
 * Keys, tokens and wallets by the form that their makers gave them. Only forms that hardly anything else has: a guard that cries wolf is
 * switched off. Forms as in gitleaks' rules and the makers' documents; where the form has a checksum, it is checked. Keys that their makers
 * call publishable (Google's `AIza…`, Stripe's `pk_…` and test keys) are not looked for: pages hold them on purpose.
 */

import { isBase58Check } from './base58.ts'
import type { Finding } from './listing.ts'
import { LOOK_BACK_BYTES, latin1, type Mark } from './marks.ts'

/** Longest token or header with the first lines of its key. */
const TOKEN_AHEAD = 1_024

const PRIVATE_KEY: Finding = { rule: 'private-key', severity: 'refused', reason: 'holds a private key' }
const WALLET: Finding = { rule: 'wallet', severity: 'refused', reason: "holds a wallet's private key" }

/** What a token may stand between: no letter, digit or underscore. */
const TEXT_CHAR = /[A-Za-z0-9_]/

function token(text: string, whose: string, form: RegExp): Mark {
  return found(text, { rule: 'token', severity: 'refused', reason: `holds ${whose}` }, form)
}

/** A mark whose look is `form`, matched from the mark on; what stands before and after must not continue it. */
function found(text: string, finding: Finding, form: RegExp): Mark {
  const sticky = new RegExp(form.source, 'y')
  return {
    ...{ text, rules: [finding.rule], ahead: TOKEN_AHEAD },
    look({ bytes, at }) {
      const around = latin1(bytes, at - 1, at + TOKEN_AHEAD)
      const start = at === 0 ? 0 : 1
      if (start === 1 && TEXT_CHAR.test(around[0]!) && TEXT_CHAR.test(text[0]!)) return []
      sticky.lastIndex = start
      const match = sticky.exec(around)
      if (match === null || isPlaceholder(match[0].slice(text.length))) return []
      return TEXT_CHAR.test(around[start + match[0].length] ?? '') ? [] : [finding]
    },
  }
}

/** `xxxxxxxx`, `0000…`, `…EXAMPLE`: what documents write in place of a token. */
function isPlaceholder(secret: string): boolean {
  return new Set(secret).size < 6 || /EXAMPLE|example/.test(secret)
}

/** A base58check key behind its prefix, e.g. BIP 32's `xprv`. */
function extendedKey(text: string): Mark {
  return {
    ...{ text, rules: ['wallet'], ahead: 128 },
    look({ bytes, at }) {
      const key = /^[1-9A-HJ-NP-Za-km-z]{107,112}/.exec(latin1(bytes, at, at + 128))?.[0] ?? ''
      return isBase58Check(key) ? [WALLET] : []
    },
  }
}

/** PEM and OpenPGP: the header line and then at least a line of the key itself, not the header alone in a text about keys. */
const PEM: Mark = {
  ...{ text: '-----BEGIN ', rules: ['private-key'], ahead: TOKEN_AHEAD },
  look({ bytes, at }) {
    const text = latin1(bytes, at, at + TOKEN_AHEAD)
    const header = /^-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----/.exec(text)
    if (header === null) return []
    // Line ends may be written out (JSON, settings), or lines put together by a program; headers such as Proc-Type or Version may come first.
    // A plus without a quote or space before it is a digit of base64.
    const rest = text.slice(header[0].length).replaceAll(/\\[nr]|[\s"']+\+[\s"']*|[\s"']/g, '\n')
    return /(?:^|\n)[A-Za-z0-9+/]{32,}/.test(rest.split('-----END')[0]!) ? [PRIVATE_KEY] : []
  },
}

const PLAIN_KEYS: readonly Mark[] = [
  {
    ...{ text: 'PuTTY-User-Key-File-', rules: ['private-key'], ahead: TOKEN_AHEAD * 4 },
    look: ({ bytes, at }) =>
      /^PuTTY-User-Key-File-\d: [\s\S]*\nPrivate-Lines: \d/.test(latin1(bytes, at, at + TOKEN_AHEAD * 4)) ? [PRIVATE_KEY] : [],
  },
  {
    ...{ text: 'AGE-SECRET-KEY-1', rules: ['private-key'], ahead: 128 },
    look: ({ bytes, at }) =>
      /^AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}/.test(latin1(bytes, at, at + 128)) ? [PRIVATE_KEY] : [],
  },
  {
    // What `client/identity.ts` and `client/keys/` write: a first line, then the seed.
    ...{ text: 'gyre identity ', rules: ['gyre-data'], ahead: 128 },
    look: ({ bytes, at }) => (/^gyre identity \d+\r?\n[0-9a-f]{64}/.test(latin1(bytes, at, at + 128)) ? [GYRE_KEY] : []),
  },
  {
    ...{ text: 'gyre key ', rules: ['gyre-data'], ahead: 128 },
    look: ({ bytes, at }) => (/^gyre key \d+\r?\n[0-9a-f]{64}/.test(latin1(bytes, at, at + 128)) ? [GYRE_KEY] : []),
  },
  {
    // Ethereum's key store (Web3 Secret Storage).
    ...{ text: '"kdfparams"', rules: ['wallet'], ahead: 2_048 },
    look: ({ bytes, at }) =>
      /"ciphertext"\s*:\s*"[0-9a-fA-F]{32,}/.test(latin1(bytes, at - LOOK_BACK_BYTES, at + 2_048)) ? [WALLET] : [],
  },
  {
    // WireGuard: 32 bytes in base64.
    ...{ text: 'PrivateKey', rules: ['private-key'], ahead: 128 },
    look: ({ bytes, at }) =>
      /^PrivateKey\s{0,8}=\s{0,8}[A-Za-z0-9+/]{43}=/.test(latin1(bytes, at, at + 128)) ? [PRIVATE_KEY] : [],
  },
  {
    ...{ text: '_authToken', rules: ['token'], ahead: 256 },
    look: ({ bytes, at }) =>
      /^_authToken\s{0,4}=\s{0,4}["']?[A-Za-z0-9_\-+/=]{16,}/.test(latin1(bytes, at, at + 256))
        ? [{ rule: 'token', severity: 'refused', reason: 'holds a token of a package registry' }]
        : [],
  },
]

const GYRE_KEY: Finding = { rule: 'gyre-data', severity: 'refused', reason: 'holds a private key of a Gyre node' }

const AWS = 'an AWS access key'
const GITHUB = 'a GitHub token'
const SLACK = 'a Slack token'
const STRIPE = 'a Stripe secret key'

const TOKENS: readonly Mark[] = [
  token('AKIA', AWS, /AKIA[A-Z2-7]{16}/),
  token('ASIA', AWS, /ASIA[A-Z2-7]{16}/),
  ...['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'].map((text) => token(text, GITHUB, new RegExp(`${text}[A-Za-z0-9]{36}`))),
  token('github_pat_', GITHUB, /github_pat_[A-Za-z0-9_]{82}/),
  token('glpat-', 'a GitLab token', /glpat-[A-Za-z0-9_-]{20,64}/),
  ...['xoxb-', 'xoxp-', 'xoxa-', 'xoxr-', 'xoxs-', 'xoxe-'].map((text) =>
    token(text, SLACK, new RegExp(`${text}(?:\\d+-)?[A-Za-z0-9-]{24,}`)),
  ),
  token('xapp-', SLACK, /xapp-\d-[A-Z0-9]+-\d+-[a-z0-9]{32,}/),
  token(
    'hooks.slack.com/services/',
    'a Slack webhook',
    /hooks\.slack\.com\/services\/T[A-Z0-9]{8,}\/B[A-Z0-9]{8,}\/[A-Za-z0-9]{20,}/,
  ),
  ...['sk_live_', 'rk_live_'].map((text) => token(text, STRIPE, new RegExp(`${text}[A-Za-z0-9]{16,128}`))),
  token('sk-ant-', 'an Anthropic key', /sk-ant-[a-z0-9]{2,12}-[A-Za-z0-9_-]{80,120}/),
  token('sk-proj-', 'an OpenAI key', /sk-proj-[A-Za-z0-9_-]{48,200}/),
  token('npm_', 'an npm token', /npm_[A-Za-z0-9]{36}/),
  token('pypi-AgE', 'a PyPI token', /pypi-AgE[A-Za-z0-9_-]{50,}/),
  token('hvs.', 'a Vault token', /hvs\.[A-Za-z0-9_-]{90,300}/),
  token('dop_v1_', 'a DigitalOcean token', /dop_v1_[a-f0-9]{64}/),
  token('shpat_', 'a Shopify token', /shpat_[a-fA-F0-9]{32}/),
]

/** All marks of secrets. */
export const SECRET_MARKS: readonly Mark[] = [PEM, ...PLAIN_KEYS, ...TOKENS, ...['xprv', 'yprv', 'zprv', 'tprv'].map(extendedKey)]

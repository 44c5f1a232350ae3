/** No parser is forgotten: each exported function that by its name reads bytes or text from outside is tried by a fuzzer, or stands here with why not. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { sourceFiles } from '../support/source-tree.ts'

/** What is no parser of its own, or is reached through another one. */
const OTHERS: Readonly<Record<string, string>> = {
  decodeText: 'what one thread of this process says to another',
  decodeWith: 'every parser of wire/ goes through it',
  verifySignature: 'libsodium; slots, records and descriptors are verified through it',
  verifyWork: 'a hash of 8 bytes; descriptors, introductions and stored bytes are verified through it',
  readU16: 'two bytes at a place that the caller has checked',
  readU32: 'as readU16',
  readU48: 'as readU16',
  readDirectly: 'hands bytes over as they are; test/fuzz/link.test.ts sends them',
  readAll: "fills a buffer from a file; the store's entries are fuzzed",
  parseWhole: 'makes parsers of values of the configuration, which are fuzzed as a whole',
  parseWholeOr: 'as parseWhole',
  parseOneOf: 'as parseWhole',
  parseList: 'as parseWhole',
  readEntry: 'reads a file whole; its content is judged by isSound, which is fuzzed',
  readSiteIndex: 'reads a publication and hands it to parseSiteIndex',
  readText: "an answer of one's own node",
  parseJson: "an answer of one's own node",
  readPassphrase: 'takes any bytes as they are',
}

const fuzzers = globSync('test/fuzz/*.test.ts', { cwd: join(import.meta.dirname, '../..') })
  .map((path) => readFileSync(join(import.meta.dirname, '../..', path), 'utf8'))
  .join('\n')

test('every parser has a fuzzer', () => {
  const names = sourceFiles('src', 'relay', 'client').flatMap(({ path, code }) =>
    [...code.matchAll(/^export (?:async )?function ((?:parse|decode|read|load|verify)[A-Z]\w*)/gm)].map((match) => ({
      path,
      name: match[1]!,
    })),
  )
  assert.ok(names.length > 50)
  const missing = names.filter(({ name }) => !(name in OTHERS) && !new RegExp(`\\b${name}\\b`).test(fuzzers))
  assert.deepEqual(missing, [])
  for (const name of Object.keys(OTHERS))
    assert.ok(
      names.some((one) => one.name === name),
      `${name} is listed and not there`,
    )
})

/** A folder as the files of a site: order, links, what is refused, and files that change under the reader. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type FolderItem, folderSite, listFolder } from '../../client/sites/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { collect, never } from '../support/fake-share-network.ts'
import { SiteWorld } from '../support/site-world.ts'

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'gyre-folder-')))
  try {
    await work(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function listed(folder: string): Promise<string[]> {
  const items: FolderItem[] = []
  for await (const item of listFolder(folder, { signal: never })) items.push(item)
  return items.map((item) =>
    item.kind === 'file' ? `${item.path} ${item.bytes}${item.linked ? ' linked' : ''}` : `${item.path} ${item.why}`,
  )
}

const hasCode = (code: string) => (error: unknown) => error instanceof OverlayError && error.code === code

test('files in the order of their names, folders in depth, with lengths and content', () =>
  inFolder(async (folder) => {
    await mkdir(join(folder, 'b/c'), { recursive: true })
    await writeFile(join(folder, 'z'), 'last')
    await writeFile(join(folder, 'b/c/d'), 'deep')
    await writeFile(join(folder, 'a.txt'), '')
    assert.deepEqual(await listed(folder), ['a.txt 0', 'b/c/d 4', 'z 4'])
    const content: string[] = []
    for await (const file of folderSite(folder, { signal: never }))
      content.push(Buffer.from(await collect(file.open())).toString())
    assert.deepEqual(content, ['', 'deep', 'last'])
  }))

test('links inside are followed, links that leave, loop or lead to nothing are refused, whatever they pass through', () =>
  inFolder(async (outer) => {
    const folder = join(outer, 'site')
    await mkdir(join(folder, 'real/inner'), { recursive: true })
    await mkdir(join(outer, 'site-not'))
    await writeFile(join(outer, 'secret'), 'secret')
    await writeFile(join(outer, 'site-not/secret'), 'secret')
    await writeFile(join(folder, 'real/file'), 'inside')
    await symlink('real/file', join(folder, 'a-file'))
    await symlink('real', join(folder, 'b-folder'))
    await symlink('../secret', join(folder, 'c-out'))
    await symlink(join(outer, 'secret'), join(folder, 'd-out'))
    await symlink('../site-not', join(folder, 'e-sibling'))
    await symlink('nowhere', join(folder, 'f-broken'))
    await symlink('.', join(folder, 'g-self'))
    await symlink('h-round', join(folder, 'h-round'))
    await symlink('../..', join(folder, 'real/inner/up'))
    await symlink('../../real', join(folder, 'real/inner/back'))
    await symlink('c-out', join(folder, 'i-over-link'))
    assert.deepEqual(await listed(folder), [
      'a-file 6 linked',
      'b-folder/file 6 linked',
      'b-folder/inner/back link-loops',
      'b-folder/inner/up link-loops',
      'c-out link-leaves',
      'd-out link-leaves',
      'e-sibling link-leaves',
      'f-broken link-broken',
      'g-self link-loops',
      'h-round link-broken',
      'i-over-link link-leaves',
      'real/file 6',
      'real/inner/back link-loops',
      'real/inner/up link-loops',
    ])
    await assert.rejects(async () => {
      for await (const _ of folderSite(folder, { signal: never }));
    }, hasCode('SITE_BAD'))
    const viaLink = join(outer, 'link')
    await symlink(folder, viaLink)
    assert.equal((await listed(viaLink)).length, 14)
  }))

test('pipes, and names that no site takes, are refused', { skip: process.platform === 'win32' }, () =>
  inFolder(async (folder) => {
    execFileSync('mkfifo', [join(folder, 'pipe')])
    await writeFile(join(folder, 'a\nb'), 'x')
    await writeFile(Buffer.concat([Buffer.from(`${folder}/latin`), Buffer.from([0xe4])]), 'x')
    assert.deepEqual(await listed(folder), ['a?b bad-name', 'latin\ufffd bad-name', 'pipe not-a-file'])
  }),
)

test('no such folder, or a file: FILE_FAILED', () =>
  inFolder(async (folder) => {
    await assert.rejects(listed(join(folder, 'nothing')), hasCode('FILE_FAILED'))
    await writeFile(join(folder, 'file'), 'x')
    await assert.rejects(listed(join(folder, 'file')), hasCode('FILE_FAILED'))
  }))

test('a file that grows, shrinks, goes, or becomes a link after it was listed is never published as something else', () =>
  inFolder(async (outer) => {
    const folder = join(outer, 'site')
    await mkdir(folder)
    const path = join(folder, 'file')
    const changes: readonly (readonly [string, () => Promise<void>, string])[] = [
      ['grows', () => writeFile(path, 'x'.repeat(300_000)), 'SITE_BAD'],
      ['shrinks', () => writeFile(path, 'x'), 'SITE_BAD'],
      ['goes', () => rm(path), 'FILE_FAILED'],
      [
        'becomes a link',
        async () => {
          await writeFile(join(outer, 'elsewhere'), 'y'.repeat(1000))
          await rm(path)
          await symlink(join(outer, 'elsewhere'), path)
        },
        'FILE_FAILED',
      ],
      [
        'is replaced',
        async () => {
          await writeFile(join(outer, 'other'), 'z'.repeat(1000))
          await rename(join(outer, 'other'), path)
        },
        'FILE_FAILED',
      ],
    ]
    for (const [what, change, code] of changes) {
      await rm(path, { force: true })
      await writeFile(path, 'x'.repeat(1000))
      const world = new SiteWorld()
      const files = (async function* () {
        for await (const file of folderSite(folder, { signal: never })) {
          await change()
          yield file
        }
      })()
      await assert.rejects(world.publisher.publish(files, { key: 'home', signal: never }), hasCode(code), what)
      world.close()
    }
  }))

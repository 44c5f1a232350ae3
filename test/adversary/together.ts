/**
 * What several runs of the lab found together, each judged by itself: `node test/adversary/together.ts FILE.json FILE.json …` (files of `--json`). Counts of
 * windows, circuits and pairs are added; bounds are Clopper–Pearson's, one-sided 95 %. Every run is judged by models that have seen none of its windows
 * that they predict, so counts add; windows of one node in one run are not independent, as in each run by itself.
 */
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import type { TaskResult } from './evaluate.ts'
import type { Verdicts } from './judge.ts'
import { type Advantage, advantage, lowerBound, upperBound } from './statistics.ts'

interface Share {
  readonly right: number
  readonly windows: number
}

/** Tasks with the sums of their counts, in the order in which they first come. Those of more than two classes are left out. */
export function together(
  runs: readonly Pick<Verdicts, 'pairs' | 'further' | 'placebo' | 'colluding' | 'direction'>[],
): Map<string, Advantage> {
  const sums = new Map<string, Share>()
  for (const { pairs, further, placebo, colluding, direction } of runs) {
    const tasks: (TaskResult | null | undefined)[] = [...pairs, ...further, ...placebo, colluding?.task, direction]
    for (const task of tasks) {
      if (task === null || task === undefined) continue
      const { right, windows } = sums.get(task.task) ?? { right: 0, windows: 0 }
      sums.set(task.task, { right: right + task.advantage.right, windows: windows + task.advantage.windows })
    }
  }
  return new Map([...sums].map(([task, { right, windows }]) => [task, advantage(right, windows)]))
}

function main(files: readonly string[]): void {
  const runs = files.map((file) => (JSON.parse(readFileSync(file, 'utf8')) as { readonly verdicts: Verdicts }).verdicts)
  console.log('| task | advantage | 95 % bounds | windows |\n| --- | --- | --- | --- |')
  for (const [task, { value, lower, upper, windows }] of together(runs)) {
    console.log(`| ${task} | ${value.toFixed(3)} | ${lower.toFixed(3)} to ${upper.toFixed(3)} | ${windows} |`)
  }
  const top = runs.reduce((sum, { posterior }) => sum + (posterior?.top ?? 0), 0)
  const topTrue = runs.reduce((sum, { posterior }) => sum + (posterior?.topTrue ?? 0), 0)
  if (top === 0) return
  const share = (topTrue / top).toFixed(3)
  const bounds = `${lowerBound(topTrue, top).toFixed(3)} to ${upperBound(topTrue, top).toFixed(3)}`
  console.log(`| probability that the predecessor is the origin, surest circuits | ${share} | ${bounds} | ${top} |`)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) main(process.argv.slice(2))

/** k nearest neighbours on scaled features, nearer ones counting more, classes counting alike. */
import type { Learner, Model, Training } from './index.ts'
import { Scale } from './scale.ts'

export function nearest({ neighbours }: { readonly neighbours: number }): Learner {
  return { name: `${neighbours} nearest`, kind: 'nearest', train: (training) => train(training, neighbours) }
}

function train({ rows, classes, classCount }: Training, neighbours: number): Model {
  const scale = new Scale(rows)
  const scaled = rows.map((row) => scale.apply(row))
  const counts = new Float64Array(classCount)
  for (const each of classes) counts[each]!++
  return (raw) => {
    const row = scale.apply(raw)
    // The nearest so far, farthest first to go.
    const distances = new Float64Array(neighbours).fill(Number.POSITIVE_INFINITY)
    const labels = new Int32Array(neighbours).fill(-1)
    for (const [at, other] of scaled.entries()) {
      let squared = 0
      const limit = distances[neighbours - 1]!
      for (let feature = 0; feature < row.length && squared < limit; feature++) squared += (row[feature]! - other[feature]!) ** 2
      if (squared >= limit) continue
      let place = neighbours - 1
      for (; place > 0 && distances[place - 1]! > squared; place--) {
        distances[place] = distances[place - 1]!
        labels[place] = labels[place - 1]!
      }
      distances[place] = squared
      labels[place] = classes[at]!
    }
    const shares = new Float64Array(classCount)
    for (let place = 0; place < neighbours; place++) {
      const label = labels[place]!
      if (label >= 0) shares[label]! += 1 / ((1e-9 + Math.sqrt(distances[place]!)) * counts[label]!)
    }
    const total = shares.reduce((sum, share) => sum + share, 0)
    return total === 0 ? shares.fill(1 / classCount) : shares.map((share) => share / total)
  }
}

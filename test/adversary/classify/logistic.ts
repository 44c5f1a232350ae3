/** Logistic regression of one or more classes (softmax), with decaying weights, by Adam on all rows at once. Rows are weighted so that classes count alike. */
import type { Learner, Model, Training } from './index.ts'
import { Scale } from './scale.ts'

const STEPS = 120
const RATE = 0.08
const BETA_1 = 0.9
const BETA_2 = 0.99

/** `decay`: the weight of the squared weights. */
export function logistic({ decay }: { readonly decay: number }): Learner {
  return { name: `logistic, decay ${decay}`, kind: 'logistic', train: (training) => train(training, decay) }
}

function train({ rows, classes, classCount }: Training, decay: number): Model {
  const scale = new Scale(rows)
  const scaled = rows.map((row) => scale.apply(row))
  const width = (rows[0]?.length ?? 0) + 1
  const weights = new Float64Array(width * classCount)
  const slope = new Float64Array(weights.length)
  const first = new Float64Array(weights.length)
  const second = new Float64Array(weights.length)
  const counts = new Float64Array(classCount)
  for (const each of classes) counts[each]!++
  const present = counts.filter((count) => count > 0).length
  for (let step = 1; step <= STEPS; step++) {
    slope.fill(0)
    for (const [at, row] of scaled.entries()) {
      const shares = sharesOf(weights, row, classCount)
      const label = classes[at]!
      const weight = 1 / (present * counts[label]!)
      for (let each = 0; each < classCount; each++) {
        const error = weight * (shares[each]! - (each === label ? 1 : 0))
        const base = each * width
        for (let feature = 0; feature < width - 1; feature++) slope[base + feature]! += error * row[feature]!
        slope[base + width - 1]! += error
      }
    }
    for (let at = 0; at < weights.length; at++) {
      const isBias = at % width === width - 1
      const gradient = slope[at]! + (isBias ? 0 : (decay * weights[at]!) / Math.sqrt(width))
      first[at] = BETA_1 * first[at]! + (1 - BETA_1) * gradient
      second[at] = BETA_2 * second[at]! + (1 - BETA_2) * gradient * gradient
      const unbiased = first[at]! / (1 - BETA_1 ** step)
      weights[at]! -= (RATE * unbiased) / (Math.sqrt(second[at]! / (1 - BETA_2 ** step)) + 1e-8)
    }
  }
  return (row) => sharesOf(weights, scale.apply(row), classCount)
}

function sharesOf(weights: Float64Array, row: Float64Array, classCount: number): Float64Array {
  const width = row.length + 1
  const shares = new Float64Array(classCount)
  for (let each = 0; each < classCount; each++) {
    const base = each * width
    let sum = weights[base + width - 1]!
    for (let feature = 0; feature < row.length; feature++) sum += weights[base + feature]! * row[feature]!
    shares[each] = sum
  }
  return softmax(shares)
}

/** In place. */
export function softmax(values: Float64Array): Float64Array {
  const most = Math.max(...values)
  let total = 0
  for (let at = 0; at < values.length; at++) {
    values[at] = Math.exp(values[at]! - most)
    total += values[at]!
  }
  for (let at = 0; at < values.length; at++) values[at]! /= total
  return values
}

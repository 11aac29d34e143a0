//! What a transaction costs: its gas, and what an OP Stack chain such as Base takes beside.

use alloy::{
    primitives::{Address, B256, Bytes, U256, address},
    providers::Provider,
    rpc::types::TransactionReceipt,
    sol_types::SolCall,
};
use serde_json::Value;

use crate::{Chain, ChainError};

mod oracle {
    #![allow(missing_docs, clippy::all, reason = "generated from the interface")]
    alloy::sol! {
        function getL1Fee(bytes data) external view returns (uint256);
        function getOperatorFee(uint256 gasUsed) external view returns (uint256);
    }
}

/// Where every OP Stack chain has its GasPriceOracle.
pub const GAS_PRICE_ORACLE: Address = address!("420000000000000000000000000000000000000F");

/// The receipt of a mined transaction, with what it paid beside its gas.
#[derive(Debug, Clone)]
pub struct Paid {
    /// The receipt.
    pub receipt: TransactionReceipt,
    /// For publishing it on L1, in wei; zero elsewhere.
    pub l1_fee: U256,
    /// For the chain's operator, in wei; zero elsewhere.
    pub operator_fee: U256,
}

impl Chain {
    /// What the chain takes beside the gas for a transaction of these bytes that uses this much gas, in
    /// wei; zero where there is no GasPriceOracle.
    pub async fn surcharge(&self, raw: &Bytes, gas: u64) -> Result<U256, ChainError> {
        if !self.has_code(GAS_PRICE_ORACLE).await? {
            return Ok(U256::ZERO);
        }
        let call = oracle::getL1FeeCall { data: raw.clone() };
        let l1_fee = self.ask_oracle(call.abi_encode(), None).await?;
        Ok(l1_fee + self.operator_fee(gas, None).await?)
    }

    /// What a mined transaction paid in all; `None` while it is not mined.
    pub async fn paid(&self, tx: B256) -> Result<Option<Paid>, ChainError> {
        let answer = self.provider().raw_request("eth_getTransactionReceipt".into(), (tx,));
        let answer: Option<Value> = self.ask("cannot read a receipt", answer).await?;
        let Some(value) = answer else { return Ok(None) };
        let malformed = |reason: String| ChainError::Malformed { what: "a receipt", reason };
        let amount = |name: &str| match value.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value::<U256>(value.clone())
                .map(Some)
                .map_err(|error| malformed(format!("{name}: {error}"))),
        };
        let (l1_fee, operator_fee) = (amount("l1Fee")?, amount("operatorFee")?);
        let scaled = value.get("operatorFeeScalar").is_some();
        let receipt: TransactionReceipt =
            serde_json::from_value(value).map_err(|error| malformed(error.to_string()))?;
        let operator_fee = match operator_fee {
            Some(fee) => fee,
            // The receipt says only what the fee is made of, and forks differ in how: the chain knows.
            // A node may have forgotten what it was then; what it is now is close.
            None if scaled => match self.operator_fee(receipt.gas_used, receipt.block_number).await
            {
                Err(_) => self.operator_fee(receipt.gas_used, None).await?,
                fee => fee?,
            },
            None => U256::ZERO,
        };
        Ok(Some(Paid { receipt, l1_fee: l1_fee.unwrap_or_default(), operator_fee }))
    }

    /// The operator's fee for this much gas, at a block or now; zero before the fork that brought it.
    async fn operator_fee(&self, gas: u64, at: Option<u64>) -> Result<U256, ChainError> {
        let call = oracle::getOperatorFeeCall { gasUsed: U256::from(gas) };
        match self.ask_oracle(call.abi_encode(), at).await {
            Err(ChainError::Reverted { .. }) => Ok(U256::ZERO),
            answer => answer,
        }
    }

    async fn ask_oracle(&self, call: Vec<u8>, at: Option<u64>) -> Result<U256, ChainError> {
        let request = alloy::rpc::types::TransactionRequest {
            to: Some(GAS_PRICE_ORACLE.into()),
            input: Bytes::from(call).into(),
            ..Default::default()
        };
        let call = self.provider().call(request);
        let call = match at {
            Some(number) => call.block(number.into()),
            None => call,
        };
        let answer = self.ask("cannot ask the GasPriceOracle", call.into_future()).await?;
        U256::try_from_be_slice(&answer).filter(|_| answer.len() == 32).ok_or_else(|| {
            let reason = format!("it has {} bytes instead of 32", answer.len());
            ChainError::Malformed { what: "an answer of the GasPriceOracle", reason }
        })
    }
}
